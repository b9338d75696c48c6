"""A scan as a model sees it: slices in its frame, at its pixels, with its intensities, made when they are asked for."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segfocal.grid import Grid, Volume
from segfocal.inference.sliding.sweep import Slices
from segfocal.intensity import Intensity, box_around, bright_lines, of_channels
from segfocal.resample import ModelGrid, resize_slices, through_plane

_CHUNK = 32


class ModelInput:
    """The image [c,d,h,w] in [0,1] of a scan on a model's grid, as `Slices`; the scan itself is not copied.

    Args:
        scan: [x,y,z] or [x,y,z,c], as it is stored.
        grid: the model's frame and pixels.
        intensity: maps stored values to [0,1]. Of percentiles all slices are looked at first.
        neighbours: slices on each side of each one that are further channels of it, from the lowest to the highest,
            all channels of each; beyond the first and the last slice these are repeated.
    """

    def __init__(self, scan: Volume, grid: ModelGrid, intensity: Intensity, *, neighbours: int = 0) -> None:
        self._channels = [one.oriented(grid.frame).array for one in scan.channels()]
        self.grid: Grid = grid.of(scan.grid)
        own, wanted = self._channels[0].shape[0], self.grid.shape[0]
        self._through = None if own == wanted else through_plane(own, wanted)
        self._reach = neighbours
        self.shape = ((2 * neighbours + 1) * len(self._channels), *self.grid.shape)
        self._windows = [
            own.window(partial(self._resized, channel, 0, self.grid.shape[0]))
            for channel, own in zip(self._channels, of_channels(intensity, len(self._channels)), strict=True)
        ]
        # slices that the next ones have as neighbours
        self._last = (0, torch.empty(len(self._channels), 0, *self.grid.shape[1:]))

    def slices(self, start: int, stop: int) -> Tensor:
        """Return slices [c, stop − start, h, w]."""
        if not self._reach:
            return self._made(start, stop)
        if start >= stop:
            return self._made(start, stop).repeat(self.shape[0] // len(self._channels), 1, 1, 1)
        low, high = max(start - self._reach, 0), min(stop + self._reach, self.grid.shape[0])
        near = self._near(low, high)
        places = torch.arange(start, stop)
        steps = range(-self._reach, self._reach + 1)
        return torch.cat([near[:, (places + step).clamp(low, high - 1) - low] for step in steps])

    def whole(self) -> Tensor:
        """Return all slices [c,d,h,w]."""
        return self.slices(0, self.grid.shape[0])

    def body(self) -> tuple[slice, slice, slice]:
        """Return the box of slices, rows and columns in which an intensity is above that of air; all if none is."""
        d, h, w = self.grid.shape
        seen = [np.zeros(n, dtype=bool) for n in (d, h, w)]
        for start in range(0, d, _CHUNK):
            part = bright_lines(self._made(start, min(start + _CHUNK, d)).amax(0).numpy())
            seen[0][start : start + len(part[0])] = part[0]
            seen[1] |= part[1]
            seen[2] |= part[2]
        return box_around(seen)

    def _near(self, low: int, high: int) -> Tensor:
        """Return slices [c, high − low, h, w] without neighbours; those of the call before are not made again."""
        first, kept = self._last
        known = kept[:, low - first :] if first <= low else kept[:, :0]
        near = torch.cat([known, self._made(low + known.shape[1], high)], dim=1)[:, : high - low]
        beginning = max(low, high - 2 * self._reach)
        self._last = (beginning, near[:, beginning - low :].clone())
        return near

    def _made(self, start: int, stop: int) -> Tensor:
        parts = zip(self._channels, self._windows, strict=True)
        made = [torch.from_numpy(window(self._resized(channel, start, stop))) for channel, window in parts]
        return made[0][None] if len(made) == 1 else torch.stack(made)

    def _resized(self, channel: NDArray, start: int, stop: int) -> NDArray[np.float32]:
        if self._through is None:
            return resize_slices(channel[start:stop], self.grid.shape[1:])
        weights = self._through[start:stop]
        near = weights.any(0).nonzero().flatten().tolist() or [0]
        part = slice(near[0], near[-1] + 1)
        slices = torch.from_numpy(resize_slices(channel[part], self.grid.shape[1:]))
        return torch.tensordot(weights[:, part], slices, dims=1).numpy()


class Cropped:
    """The part of `Slices` inside a box of slices, rows and columns."""

    def __init__(self, image: Slices, box: tuple[slice, slice, slice]) -> None:
        self.image, self.box = image, box
        self.shape = (image.shape[0], *[side.stop - side.start for side in box])

    def slices(self, start: int, stop: int) -> Tensor:
        """Return slices of the box [c, stop − start, h, w]."""
        first = self.box[0].start
        return self.image.slices(first + start, first + stop)[:, :, self.box[1], self.box[2]]

    def restored(self, logits: Tensor, *, outside: float) -> Tensor:
        """Return logits [k,n,h,w] of the box in the whole slices, `outside` elsewhere."""
        _, _, height, width = self.image.shape
        rows, columns = self.box[1:]
        beside = [columns.start, width - columns.stop, rows.start, height - rows.stop]
        return F.pad(logits, beside, value=outside)
