"""Sums over all training processes, for losses that are not a mean over pixels.

Each process sees its share of a batch and averages gradients with the others. A mean over equal shares needs nothing
more. A quotient of sums does: with these two functions it has the value, and its averaged gradient is the gradient,
that one process would get from the whole batch. Without several processes both return what they were given.

Every process has to call the loss, as it does in training; a loss computed by one process alone would wait for ever.
"""

from __future__ import annotations

from torch import Tensor
from torch import distributed as dist


def total(sums: Tensor) -> Tensor:
    """Return the sum of `sums` over all processes; the gradient is summed over them too."""
    if processes() == 1:
        return sums
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(sums)


def mean_count(count: Tensor) -> Tensor:
    """Return the mean of a count over all processes, and not less than one in all: what each divides its own sum by."""
    if processes() == 1:
        return count.clamp(min=1)
    count = count.detach().clone()
    dist.all_reduce(count)
    return count.clamp(min=1) / processes()


def processes() -> int:
    """Return how many processes train together."""
    if not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()
