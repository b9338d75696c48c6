"""A scan with the outlines of two masks, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segfocal.grid import Volume
from segfocal.intensity import Intensity
from segfocal.io.figures import overlay, slices_of


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
    turned = scan.oriented(frame)
    _, mm_h, mm_w = turned.grid.spacing_mm
    masks = [volume.oriented(frame).array == value for volume in (reference, prediction)]
    numbers = range(turned.grid.shape[0])
    if scan.grid.orientation_to(frame).flips[0]:  # count slices as the file does
        numbers = numbers[::-1]
    image = intensity(np.ascontiguousarray(turned.array))
    panels = slices_of(image, masks[0], masks[1], numbers=numbers, aspect=mm_h / mm_w)
    overlay(path, panels, heading=heading)
