"""What the values of scans are like, as they are stored: percentiles of each, and their range over training scans.

The shape of a scan's values has no unit: how far its quartiles, and the value 0, lie on the way from the lowest to the
highest percentile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
SHAPE = ("25th", "50th", "75th", "0")  # whose places between the first and the last percentile are its shape

_LOOKED_AT = 1_000_000  # voxels of a channel, evenly spread
_LARGEST = 1e38  # beyond it differences of float32 values are infinite
_FURTHEST = 100.0  # ranges of a scan that 0 may lie away from it


class Sample(NamedTuple):
    """Values spread evenly over a channel, float64, and the share of its voxels that are of their kind, in [0,1]."""

    values: NDArray[np.float64]
    share: float


def sample(array: NDArray, *, most: int = _LOOKED_AT) -> Sample:
    """Return about so many values, without the most common one: padding, or air cut off at one value.

    Values that are not finite are left out. Of a channel of one value nothing is left.
    """
    values = array[_steps(array.shape, most)].ravel()
    finite = np.isfinite(values)
    found, counts = np.unique(values[finite], return_counts=True)
    if len(found) < 2:
        return Sample(np.empty(0), 0.0)
    kept = values[finite & (values != found[counts.argmax()])].astype(np.float64)
    return Sample(kept, len(kept) / len(values))


def _steps(shape: Sequence[int], most: int) -> tuple[slice, ...]:
    """Return slices of an array that leave about so many voxels; an axis of few is not thinned."""
    step = math.ceil((math.prod(shape) / most) ** (1 / 3))
    return tuple(slice(None, None, min(step, max(1, size // 16))) for size in shape)


def percentiles_of(array: NDArray, *, most: int = _LOOKED_AT) -> list[float] | None:
    """Return PERCENTILES of the sample of a channel to six digits; None where they say nothing: it is one value."""
    values = sample(array, most=most).values
    if not values.size:
        return None
    found = [float(f"{value:.6g}") for value in np.percentile(values, PERCENTILES)]
    return found if max(map(abs, found)) <= _LARGEST and found[0] < found[-1] else None


def shape_of(percentiles: Sequence[float]) -> tuple[float, ...]:
    """Return where the quartiles and 0 lie: 0 at the first percentile, 1 at the last, which is higher."""
    low, high = percentiles[0], percentiles[-1]
    places = [(value - low) / (high - low) for value in (*percentiles[2:5], 0.0)]
    return tuple(round(min(max(place, -_FURTHEST), _FURTHEST), 4) for place in places)


@dataclass(frozen=True, kw_only=True)
class Range:
    """The least, the median and the most over cases, of each of several numbers."""

    least: tuple[float, ...]
    median: tuple[float, ...]
    most: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("least", "median", "most"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Range:
        """Return the range of the columns of rows, a case each."""
        columns = list(zip(*rows, strict=True))
        return cls(
            least=tuple(map(min, columns)),
            median=tuple(float(f"{np.median(column):.6g}") for column in columns),
            most=tuple(map(max, columns)),
        )

    @classmethod
    def joined(cls, ranges: Sequence[Range]) -> Range:
        """Return the range over the cases of all; the median is that of their medians."""
        return cls(
            least=cls.of([one.least for one in ranges]).least,
            median=cls.of([one.median for one in ranges]).median,
            most=cls.of([one.most for one in ranges]).most,
        )


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """What one channel of the training scans was like: the ranges of PERCENTILES and of SHAPE over the scans."""

    percentiles: Range
    shape: Range


Statistics = tuple[ChannelStatistics | None, ...]  # one a channel; None of a channel of one value in every scan


def over_cases(cases: Sequence[Sequence[Sequence[float] | None] | None]) -> Statistics | None:
    """Return the statistics of cases by the percentiles of their channels; None where those of one are not known."""
    known = [channels for channels in cases if channels is not None]
    if not known or len(known) < len(cases):
        return None
    return tuple(_of_channel([one for one in rows if one is not None]) for rows in zip(*known, strict=True))


def _of_channel(rows: Sequence[Sequence[float]]) -> ChannelStatistics | None:
    if not rows:
        return None
    return ChannelStatistics(percentiles=Range.of(rows), shape=Range.of([shape_of(row) for row in rows]))


def joined(members: Sequence[Statistics | None]) -> Statistics | None:
    """Return the statistics over the training scans of several models; None where those of one are not known."""
    known = [member for member in members if member is not None]
    if not known or len(known) < len(members):
        return None
    return tuple(_joined([one for one in parts if one is not None]) for parts in zip(*known, strict=True))


def _joined(parts: Sequence[ChannelStatistics]) -> ChannelStatistics | None:
    if not parts:
        return None
    return ChannelStatistics(
        percentiles=Range.joined([part.percentiles for part in parts]),
        shape=Range.joined([part.shape for part in parts]),
    )


def describe(statistics: Statistics) -> list[dict[str, Any] | None]:
    """Return what `build` turns back into these statistics: lists and numbers."""
    return [None if one is None else asdict(one) for one in statistics]


def build(channels: Sequence[Mapping[str, Mapping[str, Any]] | None]) -> Statistics:
    """Return the statistics that a checked file describes."""
    return tuple(
        None if one is None else ChannelStatistics(**{name: Range(**one[name]) for name in ("percentiles", "shape")})
        for one in channels
    )
