"""Sums over all parts of a step, for losses that are not a mean over pixels: processes, and batches that accumulate.

Each process sees its share of a batch and averages its gradients with the others; `train.accumulate` makes a step of
several smaller batches and averages theirs. For a mean over equal shares that is all. A quotient of sums needs its sums
over the whole step: `global_sum` and `mean_count` give it those over all processes, `step_count` a count over all
batches of a step too, known before the first of them. Then the averaged value and gradient are those of one batch. In a
single process all of this changes nothing.

Every process must call the loss, as in training; a process that calls it alone waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist

_batches = 1  # of the step that is being made


def global_sum(sums: Tensor) -> Tensor:
    """Return the sum of `sums` over all processes; the gradient is summed over them too."""
    if world_size() == 1:
        return sums
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(sums)


def mean_count(count: Tensor, *, least: float = 1.0) -> Tensor:
    """Return the mean of a count over all processes, at least `least` over all: each divides its own sum by it."""
    if world_size() == 1:
        return count.clamp(min=least)
    count = count.detach().clone()
    dist.all_reduce(count)
    return count.clamp(min=least) / world_size()


def step_count(counts: Sequence[Tensor], *, least: float = 1.0) -> Tensor:
    """Return the mean of the counts of a step's batches, over all processes too: each batch divides its own sum by it.

    least: of all of them together.
    """
    return mean_count(torch.stack([count.double() for count in counts]).sum(), least=least) / len(counts)


@contextmanager
def accumulating(batches: int) -> Iterator[None]:
    """Say that a step is made of so many batches, whose gradients are averaged."""
    global _batches
    before, _batches = _batches, batches
    try:
        yield
    finally:
        _batches = before


def parts() -> int:
    """Return of how many parts, whose mean training takes, a step is made: batches of all processes."""
    return world_size() * _batches


def world_size() -> int:
    """Return how many processes train together."""
    if not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()
