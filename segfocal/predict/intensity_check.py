"""Whether a scan's values are of the kind that a bundle was trained on, by its window and by the training's own values.

A window from below −50 to above 0 is in Hounsfield units, in which every part of a body holds fat or air (below −50)
and tissue (above 0), and little but metal is above 700. A bundle also holds percentiles of its training scans: a scan
far beyond them, of far less spread or, where training's had none, far below 0 is of another kind. Percentiles as
intensity fit any unit; there the shape of the values tells an inverted scan. How much of a body is seen does not count.
The limits were measured on ct_a, ct_b, ct_c, mr_d and parts of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.intensity import OfOne, Percentiles, Window, of_channels
from segfocal.intensity_statistics import PERCENTILES, ChannelStatistics, sample, shape_of

_FAT, _TISSUE, _METAL = -50.0, 0.0, 700.0  # Hounsfield units
_HARDLY_ANY = 0.001  # share of voxels below fat: 0 in scans 1024 too high and in MR, 0.6 or more in whole scans
_FEW = 0.005  # share of voxels of tissue: 0.003 at most in scans 1024 too low, 0.2 or more in whole scans
_MANY = 0.25  # share far above: 0.01 or less in whole scans, 0.34 or more in inverted ones
_ORGAN = 200.0  # Hounsfield units from the 1st to the 99th percentile: a part of one organ spans fewer
_FAR = 5  # widths of a window that is not of Hounsfield units
_NARROW = 0.02  # of the window's width: a scan scaled to [0,1]
_LARGE_MM3 = 2e6  # of voxels without padding: a box of two litres holds several tissues, wherever it lies in a body
_THIN = 0.16  # of training's least spread: 0.14 or less where a CT was divided by 10, 0.35 or more in parts of a body
_MOVED = 0.25  # by how much all quartiles lie higher: 0.37 or more in an inverted MR and its halves, 0.13 in its parts
_BELOW = 0.45  # by how much 0 lies higher within the values: 0.49 or more in CTs and their halves than in an MR
_SIGNED, _POSITIVE = 0.25, 0.02  # where 0 lies in values of both signs, and at most in those of one
_Q25, _Q75, _ZERO = 0, 2, 3  # in a shape


_OF_WINDOWS = (
    "Another unit (an offset of 1024, a factor of 10, a scale of 0 to 1), an inverted scan or another modality than "
    "the bundle was trained on looks so; its mask means little"
)
_OF_PERCENTILES = (
    "An inverted scan or another modality than the bundle was trained on looks so; its mask means little then. An "
    "offset or a factor alone does no harm, as the bundle takes each scan's own percentiles"
)


class Foreign(NamedTuple):
    """What sets a scan apart from those of the training.

    Args:
        what: the difference, with its numbers.
        share: of its voxels, where that tells it; None where it does not.
        means: what kinds of scans look so, and what of their masks.
    """

    what: str
    share: float | None = None
    means: str = _OF_WINDOWS

    def __str__(self) -> str:
        return f"{self.what}. {self.means}"


def foreign_intensities(scan: Volume, bundle: Bundle) -> Foreign | None:
    """Return what sets the values of a scan apart from those that the bundle was trained on, None where nothing does.

    Padding, whatever its value, and how much of the body the scan shows do not count. Of several channels the first
    that differs is told. Bundles that do not know their training's values are judged by their window alone.
    """
    channels = scan.channels()
    maps = of_channels(bundle.intensity, len(channels))
    trained = bundle.training_values or (None,) * len(channels)
    for number, (channel, own, seen) in enumerate(zip(channels, maps, trained, strict=True)):
        found = _foreign(channel, own, seen)
        if found:
            return found if len(maps) == 1 else found._replace(what=f"in channel {number}, {found.what}")
    return None


def _foreign(channel: Volume, own: OfOne, seen: ChannelStatistics | None) -> Foreign | None:
    """Return what sets one channel apart, with the numbers that it has and that training saw."""
    values, share = sample(channel.array)
    if not values.size:
        return None
    found = _off_window(values, own, seen) if isinstance(own, Window) else None
    if seen is None:
        return found
    percentiles = np.percentile(values, PERCENTILES)
    large = min(channel.array.shape) > 1 and channel.array.size * channel.grid.voxel_mm3 * share >= _LARGE_MM3
    found = found or (_far_off(values, seen) if isinstance(own, Window) else None)
    if found is None and large and percentiles[0] < percentiles[-1]:
        found = _of_another_shape(percentiles, own, seen)
    if found is None:
        return None
    low, high = seen.percentiles.least[0], seen.percentiles.most[-1]
    ends = f"99 % of its values lie between {percentiles[0]:.5g} and {percentiles[-1]:.5g}"
    return found._replace(
        what=f"{found.what}; {ends}, of the training scans' between {low:.5g} and {high:.5g}",
        means=_OF_WINDOWS if isinstance(own, Window) else _OF_PERCENTILES,
    )


def _off_window(values: NDArray, window: Window, seen: ChannelStatistics | None) -> Foreign | None:
    """Return the first rule of a window that values without padding break, and that training's did not, if known."""
    width, shown = window.upper - window.lower, f"the bundle's window is {window.lower:g} to {window.upper:g}"
    hounsfield = window.lower < _FAT and window.upper > _TISSUE and (seen is None or _in_hounsfield_units(seen))
    lowest, low, high, highest = np.percentile(values, [0.1, 1, 99, 99.9])
    if highest - lowest < _NARROW * width and (seen is None or _least_spread(seen) >= _NARROW * width):
        return _share(1.0, f"between {values.min():g} and {values.max():g}, where {shown}")
    if seen is not None and not hounsfield:
        return None
    far = _METAL if hounsfield else window.upper + _FAR * width
    above = float((values > far).mean())
    if above > _MANY:
        return _share(above, f"above {far:g}, where {shown}")
    if hounsfield and high - low > _ORGAN and (values < _FAT).mean() < _HARDLY_ANY:
        return _share(float((values >= _FAT).mean()), f"above {_FAT:g}, without fat or air, where {shown}")
    if hounsfield and (values > _TISSUE).mean() < _FEW:
        return _share(float((values <= _TISSUE).mean()), f"below {_TISSUE:g}, without tissue, where {shown}")
    return None


def _share(share: float, what: str) -> Foreign:
    return Foreign(f"{100 * share:.1f} % of its voxels are {what}", share)


def _in_hounsfield_units(seen: ChannelStatistics) -> bool:
    """Return whether every training scan held fat or air, tissue, and little of metal."""
    some = seen.percentiles
    return some.most[0] < _FAT and some.least[-1] > _TISSUE and some.most[PERCENTILES.index(75.0)] < _METAL


def _least_spread(seen: ChannelStatistics) -> float:
    """Return a distance of the outer percentiles that no training scan falls below."""
    return seen.percentiles.least[-1] - seen.percentiles.most[0]


def _far_off(values: NDArray, seen: ChannelStatistics) -> Foreign | None:
    """Return that many values lie more than a whole range beyond those of the training scans."""
    low, high = seen.percentiles.least[0], seen.percentiles.most[-1]
    for which, beyond in (("above", values > 2 * high - low), ("below", values < 2 * low - high)):
        share = float(beyond.mean())
        if share > _MANY:
            return _share(share, f"far {which} those of the training scans")
    return None


def _of_another_shape(percentiles: NDArray, own: OfOne, seen: ChannelStatistics) -> Foreign | None:
    """Return how the values of a large part of a body differ from training's in spread, in sign, or in order."""
    spread, least = percentiles[-1] - percentiles[0], _least_spread(seen)
    if isinstance(own, Window) and spread < _THIN * least:
        return Foreign(f"its values spread over {spread:.4g}, those of each training scan over {least:.4g} or more")
    shape, low, high = shape_of(percentiles.tolist()), seen.shape.least, seen.shape.most
    positive = high[_ZERO] <= _SIGNED
    if positive and shape[_ZERO] > high[_ZERO] + _BELOW:
        return Foreign("its values reach far below 0, those of the training scans do not")
    if shape[_ZERO] < _POSITIVE and low[_ZERO] > _SIGNED:
        return Foreign("its values are above 0, those of the training scans reach far below")
    quartiles = range(_Q25, _Q75 + 1)
    if isinstance(own, Percentiles) and positive and all(shape[q] > high[q] + _MOVED for q in quartiles):
        has, saw = (", ".join(f"{one[q]:.2f}" for q in quartiles) for one in (shape, seen.shape.median))
        return Foreign(f"its quartiles lie at {has} of its range, those of the training scans at {saw}")
    return None
