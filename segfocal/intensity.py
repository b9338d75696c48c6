"""From a scan's own intensities to [0,1], by parameters that travel in the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW = (0.05, 0.01, 0.001)  # shares of the voxels that may lie below the air
TIMES = 10  # as many voxels are air as lie below it
_LEAST = 1e-30  # an upper end of a window that is above a lower one of 0
AIR = 0.02  # of the intensity range: below it is outside the body


@dataclass(frozen=True, kw_only=True)
class Window:
    """A fixed window, for scans with a unit (CT, in Hounsfield units): lower → 0, upper → 1, clipped."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError(f"expected intensity.lower < intensity.upper; got {self.lower} and {self.upper}")

    def __call__(self, array: NDArray) -> NDArray[np.float32]:
        """Return intensities in [0,1]."""
        return _scaled(array, self.lower, self.upper)

    def window(self, scan: Callable[[], NDArray]) -> Window:
        """Return itself, as it does not depend on the scan."""
        return self


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """The scan's own percentiles as the window, for scans without a unit (MR): `low`-th → 0, `high`-th → 1, clipped.

    The air around the body, as `air_of` finds it, is left out.
    """

    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"expected 0 ≤ intensity.low < intensity.high ≤ 100; got {self.low} and {self.high}")

    def __call__(self, array: NDArray) -> NDArray[np.float32]:
        """Return intensities in [0,1]."""
        return self.window(lambda: array)(array)

    def window(self, scan: Callable[[], NDArray]) -> Window:
        """Return the window of the scan that `scan` gives."""
        array = scan()
        body = array[array > air_of(array)]
        lower, upper = np.percentile(body, [self.low, self.high]) if body.size else (0.0, 1.0)
        least = 1e-6 * max(_LEAST, abs(float(lower)))  # a body of one value: no division by zero
        return Window(lower=float(lower), upper=max(float(upper), float(lower) + least))


def air_of(array: NDArray) -> float:
    """Return the value of the air around the body: nothing of the body is at or below it.

    It is the constant that fills the background. That is the minimum, unless a few voxels, such as a resampler's or a
    single -1 in a masked scan, lie below a value that ten times as many voxels have. Up to one voxel in twenty may.
    """
    lowest = array.min()
    if np.count_nonzero(array == lowest) > FEW[0] * array.size:
        return float(lowest)
    for value in np.quantile(array, FEW, method="lower"):
        if np.count_nonzero(array == value) >= TIMES * np.count_nonzero(array < value):
            return float(value)
    return float(lowest)


OfOne = Window | Percentiles  # maps a scan of one channel to float32 in [0,1]


@dataclass(frozen=True, kw_only=True)
class PerChannel:
    """A map for each channel: Window and Percentiles, or configs of them, in the order of the channels.

    A command takes names of files of conf/intensity too, and puts what they hold in their place.
    """

    each: Sequence[OfOne | Mapping[str, Any] | str] | str

    def __post_init__(self) -> None:
        built = tuple(build(one) if isinstance(one, Mapping) else one for one in self.each)
        if not built or not all(isinstance(one, Window | Percentiles) for one in built):
            raise ValueError(f"expected intensity.each to be one window or percentiles a channel; got {self.each}")
        object.__setattr__(self, "each", built)


Intensity = Window | Percentiles | PerChannel

KINDS: dict[str, type[Window] | type[Percentiles] | type[PerChannel]] = {
    "segfocal.intensity.Window": Window,
    "segfocal.intensity.Percentiles": Percentiles,
    "segfocal.intensity.PerChannel": PerChannel,
}


def build(config: Mapping[str, Any]) -> Intensity:
    """Build an intensity map from a config (`_target_` and parameters); ValueError for a kind not listed in KINDS."""
    arguments = dict(config)
    target = arguments.pop("_target_", None)
    if target not in KINDS:
        raise ValueError(f"expected an intensity of {sorted(KINDS)}; got {target!r}")
    return KINDS[target](**arguments)


def describe(intensity: Intensity) -> dict[str, Any]:
    """Return the config that `build` turns back into this intensity map."""
    name = next(name for name, kind in KINDS.items() if isinstance(intensity, kind))
    if isinstance(intensity, PerChannel):
        return {"_target_": name, "each": [describe(one) for one in of_channels(intensity, len(intensity.each))]}
    return {"_target_": name, **asdict(intensity)}


def of_channels(intensity: Intensity, count: int) -> tuple[OfOne, ...]:
    """Return the map of each of `count` channels; ValueError where `intensity` is for another number of them."""
    if not isinstance(intensity, PerChannel):
        return (intensity,) * count
    each = tuple(one for one in intensity.each if isinstance(one, Window | Percentiles))
    if len(each) != count:
        raise ValueError(f"expected intensity.each of {count} entries, one a channel; got {len(each)}")
    return each


def of_first(intensity: Intensity) -> OfOne:
    """Return the map of the first channel, by which a scan is shown."""
    return of_channels(intensity, len(intensity.each) if isinstance(intensity, PerChannel) else 1)[0]


def _scaled(array: NDArray, lower: float, upper: float) -> NDArray[np.float32]:
    out = np.subtract(array, lower, dtype=np.float32)
    with np.errstate(over="ignore"):
        out /= upper - lower
    return np.clip(out, 0.0, 1.0, out=out)


def body_box(image: NDArray, *, margin: tuple[int, int, int] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """Return the box of slices, rows and columns in which an image [d,h,w] in [0,1] is brighter than air.

    `margin` adds slices, rows and columns on each side, within the image. An image of air gives the whole image.
    """
    return box_around(bright_lines(image), margin=margin)


def bright_lines(image: NDArray) -> list[NDArray[np.bool_]]:
    """Return for each slice, each row and each column of [d,h,w] whether anything in it is brighter than air."""
    bright = image > AIR
    rows = np.logical_or.reduce(bright, axis=2)
    return [np.logical_or.reduce(part, axis) for part, axis in ((rows, 1), (rows, 0), (bright, (0, 1)))]


def box_around(
    lines: Sequence[NDArray[np.bool_]], *, margin: tuple[int, int, int] = (0, 0, 0)
) -> tuple[slice, slice, slice]:
    """Return the box that holds every slice, row and column marked in `lines`; the whole image if none is."""
    sides = []
    for marked, more in zip(lines, margin, strict=True):
        found = np.flatnonzero(marked) if marked.any() else np.arange(len(marked))
        sides.append(slice(max(int(found[0]) - more, 0), min(int(found[-1]) + 1 + more, len(marked))))
    return sides[0], sides[1], sides[2]
