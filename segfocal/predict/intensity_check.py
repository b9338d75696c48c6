"""Whether a scan's values are of the kind that a bundle was trained on, as far as its window tells.

Only a fixed window says what values mean. One from below −50 to above 0 is in Hounsfield units, in which every part of
a body holds fat or air (below −50) and tissue (above 0), and little but metal is above 700. Percentiles fit any unit,
so scans of bundles that use them are not judged. The shares were measured on ct_a, ct_b, ct_c and parts of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.intensity import Window, of_channels

_LOOKED_AT = 1_000_000  # voxels of a channel, evenly spread
_FAT, _TISSUE, _METAL = -50.0, 0.0, 700.0  # Hounsfield units
_HARDLY_ANY = 0.001  # share of voxels below fat: 0 in scans 1024 too high and in MR, 0.6 or more in whole scans
_FEW = 0.005  # share of voxels of tissue: 0.003 at most in scans 1024 too low, 0.2 or more in whole scans
_MANY = 0.25  # share far above: 0.01 or less in whole scans, 0.34 or more in inverted ones
_ORGAN = 200.0  # Hounsfield units from the 1st to the 99th percentile: a part of one organ spans fewer
_FAR = 5  # widths of a window that is not of Hounsfield units
_NARROW = 0.02  # of the window's width: a scan scaled to [0,1]


class Foreign(NamedTuple):
    """What sets a scan apart from those of the training: `share` of its voxels in [0,1], and what they are."""

    share: float
    what: str

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.1f} % of its voxels are {self.what}. Another unit (an offset of 1024, a scale of 0 to "
            "1), an inverted scan or another modality than the bundle was trained on looks so; its mask means little"
        )


def foreign_intensities(scan: Volume, bundle: Bundle) -> Foreign | None:
    """Return what sets the values of a scan apart from those that the bundle was trained on, None where nothing does.

    Padding, whatever its value, and how much of the body the scan shows do not count. Of several channels the first
    that differs is told.
    """
    maps = of_channels(bundle.intensity, len(scan.channels()))
    for number, (channel, own) in enumerate(zip(scan.channels(), maps, strict=True)):
        found = _foreign(_sample(channel.array), own) if isinstance(own, Window) else None
        if found:
            return found if len(maps) == 1 else found._replace(what=f"{found.what} in channel {number}")
    return None


def _foreign(values: NDArray, window: Window) -> Foreign | None:
    """Return the first rule that values without padding break, and their share."""
    if not values.size:
        return None
    width, shown = window.upper - window.lower, f"the bundle's window is {window.lower:g} to {window.upper:g}"
    hounsfield = window.lower < _FAT and window.upper > _TISSUE
    lowest, low, high, highest = np.percentile(values, [0.1, 1, 99, 99.9])
    if highest - lowest < _NARROW * width:
        return Foreign(1.0, f"between {values.min():g} and {values.max():g}, where {shown}")
    far = _METAL if hounsfield else window.upper + _FAR * width
    above = float((values > far).mean())
    if above > _MANY:
        return Foreign(above, f"above {far:g}, where {shown}")
    if hounsfield and high - low > _ORGAN and (values < _FAT).mean() < _HARDLY_ANY:
        return Foreign(float((values >= _FAT).mean()), f"above {_FAT:g}, without fat or air, where {shown}")
    if hounsfield and (values > _TISSUE).mean() < _FEW:
        return Foreign(float((values <= _TISSUE).mean()), f"below {_TISSUE:g}, without tissue, where {shown}")
    return None


def _sample(array: NDArray) -> NDArray:
    """Return values spread evenly over a channel, without the most common one: padding, or air cut off at one value."""
    values = array[_steps(array.shape)].ravel()
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(found) < 2:
        return found[:0]
    return values[np.isfinite(values) & (values != found[counts.argmax()])].astype(np.float64)


def _steps(shape: Sequence[int]) -> tuple[slice, ...]:
    """Return slices of an array that leave about so many voxels; an axis of few is not thinned."""
    step = math.ceil((math.prod(shape) / _LOOKED_AT) ** (1 / 3))
    return tuple(slice(None, None, min(step, max(1, size // 16))) for size in shape)
