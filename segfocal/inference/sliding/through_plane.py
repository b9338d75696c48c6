"""Logits brought from the slices of a model's grid to those of a scan, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from segfocal.inference.sliding.sweep import Slab
from segfocal.resample import through_plane


def at_depth(slabs: Iterator[Slab], *, now: int, wanted: int) -> Iterator[Slab]:
    """Yield slabs of `now` slices in all as slabs of `wanted`, each as soon as all that it is made of is there.

    Interpolated as `resample.resize_volume` does; of the slices before, those are kept that the next ones need.
    """
    if now == wanted:
        yield from slabs
        return
    weights = through_plane(now, wanted)
    first, last = _reaches(weights)
    held: Tensor | None = None
    start = done = 0
    for slab in slabs:
        held = slab.logits if held is None else torch.cat([held, slab.logits.to(held.dtype)], dim=1)
        stop = int((last < slab.stop).sum())
        if stop > done:
            part = weights[done:stop, start : slab.stop].to(held.device)
            yield Slab(done, stop, torch.einsum("zn,knhw->kzhw", part, held.float()))
            done = stop
        if done < wanted:
            kept = min(int(first[done]), slab.stop)
            held, start = held[:, kept - start :].clone(), kept


def _reaches(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last index that each row of weights takes part of; both grow from row to row."""
    taken = weights > 0
    return taken.int().argmax(1), weights.shape[1] - 1 - taken.flip(1).int().argmax(1)
