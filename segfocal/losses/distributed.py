"""Sums over all training processes, for losses that are not a mean over pixels.

Each process sees its share of a batch and averages its gradients with the others. For a mean over equal shares that is
all. A quotient of sums needs its sums over the whole batch: `global_sum` and `mean_count` give it the value that one
process would get, and its averaged gradient is that of one process. In a single process both change nothing.

Every process must call the loss, as in training; a process that calls it alone waits for ever.
"""

from __future__ import annotations

from torch import Tensor
from torch import distributed as dist


def global_sum(sums: Tensor) -> Tensor:
    """Return the sum of `sums` over all processes; the gradient is summed over them too."""
    if world_size() == 1:
        return sums
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(sums)


def mean_count(count: Tensor) -> Tensor:
    """Return the mean of a count over all processes, at least one over all: each process divides its own sum by it."""
    if world_size() == 1:
        return count.clamp(min=1)
    count = count.detach().clone()
    dist.all_reduce(count)
    return count.clamp(min=1) / world_size()


def world_size() -> int:
    """Return how many processes train together."""
    if not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()
