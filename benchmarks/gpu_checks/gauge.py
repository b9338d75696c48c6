"""Seconds and GPU memory of a block, with the device waited for at both ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class Gauge:
    """What a block took.

    Args:
        seconds: by the wall clock.
        gib: the most that tensors occupied of the GPU at a time, those from before the block included; None on a CPU.
    """

    seconds: float = 0.0
    gib: float | None = None

    @property
    def memory(self) -> str:
        """The memory in words, "" on a CPU."""
        return "" if self.gib is None else f"{self.gib:.2f} GiB of the GPU"


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def gauge(device: torch.device) -> Iterator[Gauge]:
    """Yield a gauge that says, once the block has ended, what it took."""
    found = Gauge()
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begun = time.perf_counter()
    yield found
    wait(device)
    found.seconds = time.perf_counter() - begun
    if device.type == "cuda":
        found.gib = torch.cuda.max_memory_allocated(device) / 2**30
