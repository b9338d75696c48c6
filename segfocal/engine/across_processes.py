"""What the processes of a training run agree on: decisions, means, the run directory, and that one of them has gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch import distributed as dist

from segfocal.errors import UserError

Told = TypeVar("Told")

# gloo's words for a connection that ended, and for an answer that did not come; NCCL has its own error classes.
_GONE = re.compile(r"gloo.*(Connection (closed|reset) by peer|Broken pipe|Connection refused)", re.DOTALL)
_LATE = re.compile(r"Timed out waiting|Application timeout|operation timeout|wait timeout after", re.IGNORECASE)


def in_any_process(accelerator: Accelerator, here: bool) -> bool:
    """Return whether the answer is yes in any process, so that all do the same."""
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device)) > 0)


def mean_over_processes(accelerator: Accelerator, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read the mean of each value over all processes, all at once (synchronises the GPU)."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    return dict(zip(values, accelerator.reduce(stacked, "mean").tolist(), strict=True))


def told_by_main(value: Told) -> Told:
    """Return the main process's value in every process; those that come first wait for it."""
    return broadcast_object_list([value])[0]


def main_folder(folder: Path) -> Path:
    """Return the main process's run directory in every process."""
    return Path(told_by_main(str(folder)))


@contextmanager
def naming_lost_processes(accelerator: Accelerator, *, timeout: float) -> Iterator[None]:
    """Raise UserError where another of the processes that train together has gone, or does not answer.

    Args:
        accelerator: this process's place among them.
        timeout: seconds that they wait for each other.
    """
    try:
        yield
    except RuntimeError as error:
        found = _lost(error, timeout)
        if accelerator.num_processes == 1 or found is None:
            raise
        raise UserError(
            expected=f"{accelerator.num_processes} processes that train together to the end",
            found=found,
            do="see what it said; the same options with resume=auto go on from the last checkpoint",
        ) from error


def _lost(error: RuntimeError, timeout: float) -> str | None:
    """Return in words what an error says of another process; None of an error of another kind."""
    text = str(error)
    if _LATE.search(text):
        return f"one that has not answered for {timeout:g} seconds (train.process_timeout)"
    if isinstance(error, dist.DistError) or _GONE.search(text):
        return "one that has gone"
    return None
