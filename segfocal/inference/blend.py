"""Sliding-window inference as a stream: windows go through a network in batches, finished slabs come out in order.

The volume is swept along its first axis. A slab is finished when no later window touches it; it is handed out and
forgotten, so memory does not grow with the number of slices. Everything blended is logits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.inference.windows import SIGMA_SHARE, Axis, Weighting, padding_for, plan_axis

Network = Callable[[Tensor], Tensor]


class Slab(NamedTuple):
    """Finished logits [k, stop − start, ...] of the indices start to stop of the swept axis."""

    start: int
    stop: int
    logits: Tensor


def sweep(
    image: Tensor,
    network: Network,
    *,
    window: Sequence[int],
    overlap: float = 0.5,
    weighting: Weighting = "gaussian",
    sigma_share: float = SIGMA_SHARE,
    batch_size: int = 8,
    device: torch.device | None = None,
) -> Iterator[Slab]:
    """Yield the blended logits of `image` [c, n, *space], slab by slab along n, each index exactly once.

    window has one length an axis; where its first length is 1 the network is two-dimensional and sees [b,c,*rest],
    and one batch takes windows of several slices. An image smaller than the window is padded evenly with zeros.
    Windows overlap by the share `overlap`, along a slice axis of length 1 not at all. Logits are accumulated in
    float32 on `device`, where the network is (by default the image's device).
    """
    device = device or image.device
    flat = window[0] == 1
    size = tuple(image.shape[1:])
    padding = padding_for(size, window)
    padded = F.pad(image, [n for pair in reversed(padding) for n in pair])
    axes = [
        plan_axis(n, length, overlap=overlap, weighting=weighting, sigma_share=sigma_share)
        for n, length in zip(padded.shape[1:], window, strict=True)
    ]
    corners = list(itertools.product(*[range(len(axis.starts)) for axis in axes]))
    buffer = _Buffer(axes, device)
    for first in range(0, len(corners), batch_size):
        part = corners[first : first + batch_size]
        batch = torch.stack([padded[(slice(None), *_place(axes, corner))] for corner in part]).to(device)
        logits = network(batch.squeeze(2) if flat else batch).float()
        for corner, answer in zip(part, logits.unsqueeze(2) if flat else logits, strict=True):
            buffer.add(corner, answer)
        following = first + batch_size
        done = axes[0].starts[corners[following][0]] if following < len(corners) else axes[0].size
        yield from _cropped(buffer.release(done), padding, size)


class _Buffer:
    """Accumulates weighted windows over the part of the swept axis that is still open."""

    def __init__(self, axes: Sequence[Axis], device: torch.device) -> None:
        self.axes = axes
        self.weights = [axis.weights.to(device) for axis in axes]
        self.start = 0
        self.open: Tensor | None = None

    def add(self, corner: Sequence[int], logits: Tensor) -> None:
        """Add the logits [k, *window] of the window at `corner`."""
        rest = [axis.size for axis in self.axes[1:]]
        begin = self.axes[0].starts[corner[0]]
        end = begin + self.axes[0].length
        if self.open is None:
            self.open = logits.new_zeros(logits.shape[0], 0, *rest)
        missing = end - self.start - self.open.shape[1]
        if missing > 0:
            self.open = torch.cat([self.open, logits.new_zeros(logits.shape[0], missing, *rest)], dim=1)
        for axis, (index, weights) in enumerate(zip(corner, self.weights, strict=True)):
            shape = [1] * logits.ndim
            shape[1 + axis] = -1
            logits = logits * weights[index].reshape(shape)
        place = _place(self.axes, corner)
        self.open[(slice(None), slice(begin - self.start, end - self.start), *place[1:])] += logits

    def release(self, stop: int) -> Iterator[Slab]:
        """Hand out everything before `stop`, if there is anything."""
        count = stop - self.start
        if self.open is None or count <= 0:
            return
        slab = Slab(self.start, stop, self.open[:, :count])
        self.open = self.open[:, count:].clone()
        self.start = stop
        yield slab


def _place(axes: Sequence[Axis], corner: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a.starts[i], a.starts[i] + a.length) for a, i in zip(axes, corner, strict=True))


def _cropped(slabs: Iterator[Slab], padding: Sequence[tuple[int, int]], size: Sequence[int]) -> Iterator[Slab]:
    """Take the padding off again: off the swept axis by shifting indices, off the others by slicing."""
    before = padding[0][0]
    inner = tuple(slice(low, low + n) for (low, _), n in zip(padding[1:], size[1:], strict=True))
    for slab in slabs:
        start, stop = max(slab.start - before, 0), min(slab.stop - before, size[0])
        if start < stop:
            kept = slice(start + before - slab.start, stop + before - slab.start)
            yield Slab(start, stop, slab.logits[(slice(None), kept, *inner)])
