"""A trace of some training steps, to be opened in Perfetto or chrome://tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

_WAIT, _WARMUP, _ACTIVE = 5, 2, 5  # steps


@contextmanager
def profiler(path: Path, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """Yield what to call after each step; if `wanted`, steps 8 to 12 are written to `path` as they end."""
    if not wanted:
        yield lambda: None
        return
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    plan = schedule(wait=_WAIT, warmup=_WARMUP, active=_ACTIVE, repeat=1)
    with profile(
        activities=kinds, schedule=plan, on_trace_ready=lambda made: made.export_chrome_trace(str(path))
    ) as running:
        yield running.step
