"""Sliding-window inference as a stream: windows go through a network in batches, finished slabs come out in order.

The volume is swept along its first axis. Slices are asked for when a window needs them, and a slab is finished when no
later window touches it; it is handed out and forgotten, so memory does not grow with the number of slices. Everything
blended is logits, as a running weighted mean: where all windows agree the answer is theirs to the last bit.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.inference.sliding.batching import Batching
from segfocal.inference.sliding.constant_windows import ConstantWindows
from segfocal.inference.sliding.windows import HALF, Axis, WindowOverlap, padding_for, plan_axis

Network = Callable[[Tensor], Tensor]

_FETCHED = 1 << 22  # pixels that are made ready at a time
_KEPT_STEPS = 1 << 22  # pixels of blending weights in memory; windows away from the borders have them in common


class Slices(Protocol):
    """An image [c, n, *space] that is made slice by slice."""

    @property
    def shape(self) -> Sequence[int]:
        """(c, n, *space)."""
        ...

    def slices(self, start: int, stop: int) -> Tensor:
        """Return the indices start to stop of the swept axis, [c, stop − start, *space]."""
        ...


class Slab(NamedTuple):
    """Finished logits [k, stop − start, ...] of the indices start to stop of the swept axis."""

    start: int
    stop: int
    logits: Tensor


def sweep(
    image: Tensor | Slices,
    network: Network,
    *,
    window: Sequence[int],
    overlap: WindowOverlap = HALF,
    batch_size: int | Batching = 8,
    device: torch.device | None = None,
    accumulate: torch.dtype = torch.float32,
) -> Iterator[Slab]:
    """Yield the blended logits of an image, slab by slab along its first axis n, each index exactly once.

    An image smaller than the window is padded evenly with zeros. Along an axis where the window has length 1 windows do
    not overlap. A batch that does not fit into memory is halved, and stays so (`Batching`). Windows of one value, as of
    air, are answered once (`ConstantWindows`).

    Args:
        image: [c,n,*space], whole or made slice by slice.
        network: makes logits [b,k,*window] of windows [b,c,*window].
        window: a length an axis. Where the first is 1 the network is two-dimensional and sees [b,c,*rest], and one
            batch takes windows of several slices.
        overlap: of neighbouring windows, and how they are weighted.
        batch_size: windows at a time.
        device: where the network is; None: where the image is, else the CPU.
        accumulate: the dtype in which logits are blended.
    """
    slices = _Held(image) if isinstance(image, Tensor) else image
    device = device or (image.device if isinstance(image, Tensor) else torch.device("cpu"))
    batching = Batching(batch_size) if isinstance(batch_size, int) else batch_size
    size = tuple(slices.shape[1:])
    padding = padding_for(size, window)
    axes = [
        plan_axis(n + low + high, length, overlap) for n, (low, high), length in zip(size, padding, window, strict=True)
    ]
    corners = list(itertools.product(*[range(len(axis.starts)) for axis in axes]))
    rolling, buffer = _Rolling(slices, padding), _Buffer(axes, device, accumulate)
    asked = ConstantWindows(lambda windows: batching.run(network, _moved(windows, device)))
    flat, first = window[0] == 1, 0
    while first < len(corners):
        part = corners[first : first + batching.size]
        windows = rolling.windows([_place(axes, corner) for corner in part])
        answers = asked.answers(windows.squeeze(2) if flat else windows)
        for corner, logits in zip(part, answers, strict=True):
            buffer.add(corner, logits.unsqueeze(1) if flat else logits, last=part[-1])
        first += len(part)
        done = axes[0].starts[corners[first][0]] if first < len(corners) else axes[0].size
        yield from _cropped(buffer.release(done), padding, size)


def _moved(windows: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and windows.device.type == "cpu":
        return windows.pin_memory().to(device, non_blocking=True)  # while the GPU is at the batch before
    return windows.to(device)


class _Held:
    """A tensor as `Slices`."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.shape = image, image.shape

    def slices(self, start: int, stop: int) -> Tensor:
        return self.image[:, start:stop]


class _Rolling:
    """The padded slices that windows still look at."""

    def __init__(self, image: Slices, padding: Sequence[tuple[int, int]]) -> None:
        self.image = image
        self.before = padding[0][0]
        self.beside = [n for pair in reversed(padding[1:]) for n in pair]
        self.start = 0
        self.held: Tensor | None = None

    def windows(self, places: Sequence[tuple[slice, ...]]) -> Tensor:
        """Return the windows at `places` [b,c,*window], where the image is; the first place has the earliest slices."""
        begin, end = places[0][0].start, places[-1][0].stop
        self._reach(begin, end)
        assert self.held is not None
        moved = [(slice(p[0].start - begin, p[0].stop - begin), *p[1:]) for p in places]
        return torch.stack([self.held[(slice(None), *place)] for place in moved])

    def _reach(self, begin: int, end: int) -> None:
        """Forget the slices before `begin` and fetch those up to `end`, a few at a time."""
        kept = 0 if self.held is None else max(0, self.start + self.held.shape[1] - begin)
        if self.held is not None and begin + kept >= end:
            self.start, self.held = begin, self.held[:, -kept:]
            return
        grown: Tensor | None = None
        for first, part in self._parts(begin + kept, end):
            if grown is None:
                grown = part.new_zeros(len(part), end - begin, *part.shape[2:])
                if self.held is not None and kept:
                    grown[:, :kept] = self.held[:, -kept:]
                self.held = None  # before all is fetched
            grown[:, first - begin : first - begin + part.shape[1]] = part
        self.start, self.held = begin, grown

    def _parts(self, begin: int, end: int) -> Iterator[tuple[int, Tensor]]:
        """Yield a few slices at a time with the index of the first, those of the padding left out."""
        few = max(1, _FETCHED // math.prod(self.image.shape[2:]))
        last = min(end - self.before, self.image.shape[1])
        for first in range(max(begin - self.before, 0), last, few):
            part = self.image.slices(first, min(first + few, last))
            yield first + self.before, F.pad(part, self.beside) if any(self.beside) else part


class _Buffer:
    """Blends windows over the part of the swept axis that is still open.

    A window moves the mean of those before it by a step: its weight over the sum of all weights so far. What is open
    lies in pieces, one for each batch that reached further, and is handed out as a view where it is in one of them.
    """

    def __init__(self, axes: Sequence[Axis], device: torch.device, dtype: torch.dtype) -> None:
        self.axes, self.dtype = axes, dtype
        self.weights = [axis.weights.to(device) for axis in axes]
        self.before = [axis.before.to(device) for axis in axes]
        self.kinds = [_kinds(axis) for axis in axes]
        self.steps: dict[tuple[int, ...], Tensor] = {}
        self.reached = 0
        self.open: deque[Slab] = deque()

    def add(self, corner: Sequence[int], logits: Tensor, *, last: Sequence[int]) -> None:
        """Add the logits [k, *window] of a window at a corner; corners come in lexicographic order.

        last: corner of the batch, up to whose end the axis is opened.
        """
        end = self.axes[0].starts[last[0]] + self.axes[0].length
        if end > self.reached:
            shape = (len(logits), end - self.reached, *[axis.size for axis in self.axes[1:]])
            self.open.append(Slab(self.reached, end, logits.new_zeros(shape, dtype=self.dtype)))
            self.reached = end
        swept, *beside = _place(self.axes, corner)
        step = self._step(corner)
        for piece in self.open:
            low, high = max(swept.start, piece.start), min(swept.stop, piece.stop)
            if low < high:
                mean = piece.logits[(slice(None), slice(low - piece.start, high - piece.start), *beside)]
                own = slice(low - swept.start, high - swept.start)
                mean.lerp_(logits[:, own].to(self.dtype), step[own])

    def _step(self, corner: Sequence[int]) -> Tensor:
        """Return the step [*window] by which a window moves the mean."""
        kind = tuple(kinds[index] for kinds, index in zip(self.kinds, corner, strict=True))
        if kind not in self.steps:
            own = total = torch.ones((), device=self.weights[0].device)
            for axis in range(len(self.axes) - 1, -1, -1):
                shape = [-1] + [1] * (len(self.axes) - 1 - axis)
                weights, before = (t[axis][corner[axis]].reshape(shape) for t in (self.weights, self.before))
                own, total = weights * own, before + weights * total
            step = (own / total).to(self.dtype)
            if (len(self.steps) + 1) * step.numel() > _KEPT_STEPS:
                self.steps.clear()
            self.steps[kind] = step
        return self.steps[kind]

    def release(self, stop: int) -> Iterator[Slab]:
        """Hand out everything before `stop`, piece by piece."""
        while self.open and self.open[0].start < stop:
            piece = self.open.popleft()
            if piece.stop > stop:
                rest = piece.logits[:, stop - piece.start :].clone()  # not a view: the piece is free once it is read
                self.open.appendleft(Slab(stop, piece.stop, rest))
            yield Slab(piece.start, min(stop, piece.stop), piece.logits[:, : stop - piece.start])


def _kinds(axis: Axis) -> list[int]:
    """Return for each window the first one of the same weights."""
    rows = [(tuple(w), tuple(b)) for w, b in zip(axis.weights.tolist(), axis.before.tolist(), strict=True)]
    return [rows.index(row) for row in rows]


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
