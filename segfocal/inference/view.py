"""A scan as a model sees it: slices in its frame, at its pixels, with its intensities, made when they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segfocal.grid import Grid, Volume
from segfocal.inference.blend import Slices
from segfocal.intensity import Intensity, box_around, bright_lines
from segfocal.resample import ModelGrid, resize_slices

_CHUNK = 32


class View:
    """The image [1,d,h,w] in [0,1] of a scan on a model's grid, as `Slices`; the scan itself is not copied.

    grid: the model's. A window of intensities in percentiles is found from all slices first.
    """

    def __init__(self, scan: Volume, grid: ModelGrid, intensity: Intensity) -> None:
        self._turned = scan.oriented(grid.frame).array
        self.grid: Grid = grid.of(scan.grid)
        self.shape = (1, *self.grid.shape)
        self._window = intensity.window(lambda: self._resized(0, self.grid.shape[0]))

    def slices(self, start: int, stop: int) -> Tensor:
        """Return slices [1, stop − start, h, w]."""
        return torch.from_numpy(self._window(self._resized(start, stop)))[None]

    def whole(self) -> Tensor:
        """Return all slices [1,d,h,w]."""
        return self.slices(0, self.grid.shape[0])

    def body(self) -> tuple[slice, slice, slice]:
        """Return the box of slices, rows and columns in which an intensity is above that of air; all if none is."""
        d, h, w = self.grid.shape
        seen = [np.zeros(n, dtype=bool) for n in (d, h, w)]
        for start in range(0, d, _CHUNK):
            part = bright_lines(self.slices(start, min(start + _CHUNK, d))[0].numpy())
            seen[0][start : start + len(part[0])] = part[0]
            seen[1] |= part[1]
            seen[2] |= part[2]
        return box_around(seen)

    def _resized(self, start: int, stop: int) -> NDArray[np.float32]:
        return resize_slices(self._turned[start:stop], self.grid.shape[1:])


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
