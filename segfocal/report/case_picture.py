"""A scan, of several channels the first, with the outlines of two masks, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid, Volume
from segfocal.intensity import Intensity, of_first
from segfocal.report.plots import overlay, slices_of

_SHOWN = 3  # slices of a case with errors


def draw(
    path: Path,
    *,
    scan: Volume,
    reference: Volume,
    prediction: Volume,
    value: int,
    intensity: Intensity,
    frame: str,
    heading: str,
) -> None:
    """Write a PNG of the slices where structure `value` is largest, in `frame` and in the scan's own pixels."""
    masks = [volume.oriented(frame).array == value for volume in (reference, prediction)]
    image = of_first(intensity)(np.ascontiguousarray(scan.channels()[0].oriented(frame).array))
    numbers, aspect = _numbers_and_aspect(scan.grid, frame)
    panels = slices_of(image, masks[0], masks[1], numbers=numbers, aspect=aspect)
    overlay(path, panels, heading=heading)


def draw_errors(
    path: Path,
    *,
    scan: Volume | None,
    reference: Volume,
    prediction: Volume,
    value: int,
    intensity: Intensity,
    frame: str,
    heading: str,
) -> None:
    """Write a PNG of the slices where most of structure `value` is wrong, cut to what is inside either mask.

    Without a scan the outlines stand on black.
    """
    masks = [volume.oriented(frame).array == value for volume in (reference, prediction)]
    rows, columns = (_around((masks[0] | masks[1]).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    shown = np.zeros(masks[0].shape, np.float32)
    if scan is not None:
        shown = of_first(intensity)(np.ascontiguousarray(scan.channels()[0].oriented(frame).array))
    cut = np.s_[:, rows, columns]
    numbers, aspect = _numbers_and_aspect(reference.grid, frame)
    panels = slices_of(
        shown[cut], masks[0][cut], masks[1][cut], numbers=numbers, aspect=aspect, count=_SHOWN, errors=True
    )
    overlay(path, panels, heading=heading, plain=scan is not None)


def _numbers_and_aspect(grid: Grid, frame: str) -> tuple[range, float]:
    """Return the slices' numbers as the file counts them, and how much taller than wide a pixel is in `frame`."""
    turned = grid.oriented(grid.orientation_to(frame))
    numbers = range(turned.shape[0])
    return numbers[::-1] if grid.orientation_to(frame).flips[0] else numbers, turned.spacing_mm[1] / turned.spacing_mm[
        2
    ]


def _around(inside: NDArray[np.bool_]) -> slice:
    """Return where an axis is inside, with half as much again on each side; a sixth of the axis at least."""
    found = np.flatnonzero(inside)
    if not len(found):
        return slice(0, len(inside))
    low, high = int(found[0]), int(found[-1]) + 1
    margin = max((high - low) // 2, len(inside) // 12, 4)
    return slice(max(0, low - margin), min(len(inside), high + margin))
