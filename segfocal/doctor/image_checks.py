"""Checks of an image's voxels, and the numbers by which images are compared with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segfocal.doctor.checks import Check, Found
from segfocal.grid import Volume

AIR_HU = -500.0  # every CT that is not cropped to the inside of a body holds less
_SAMPLE = 200_000  # voxels that the numbers are estimated by


@dataclass(frozen=True, kw_only=True)
class Intensities:
    """The scale of an image: lowest and highest over all finite voxels, the others over a sample.

    Args:
        low: the lowest value.
        high: the highest value.
        mean: of the sample.
        sd: the standard deviation of the sample.
        body: the median of what lies above the middle of the 1st and 99th percentile: of a body, not of the air.
        spread: the 99th percentile less the 1st.
        integers_only: no value of the sample has a fraction.
        distinct: how many values the sample holds.
    """

    low: float
    high: float
    mean: float
    sd: float
    body: float
    spread: float
    integers_only: bool
    distinct: int

    @property
    def air_at_zero(self) -> bool:
        """Whether this is a CT stored without its rescale intercept: air at 0, water at about 1000."""
        return self.integers_only and -100 <= self.low <= 100 and 1200 < self.high < 5000 and 850 <= self.body <= 1300

    @property
    def normalised(self) -> bool:
        """Whether it was scaled before: all of it in [0,1] or [-1,1] in fractions, or mean 0 and deviation 1."""
        unit = self.low >= -1.0 and self.high <= 1.0
        standard = abs(self.mean) < 0.05 and abs(self.sd - 1) < 0.05
        return not self.integers_only and (unit or standard)


def image_findings(image: Volume) -> Iterator[Found]:
    """Yield what is wrong with an image's voxels by themselves."""
    array = image.array
    if bad := _not_finite(array):
        yield Check.NOT_FINITE, f"{bad} of {array.size} voxels"
    if bad == array.size:
        return
    if _constant(array):
        yield Check.CONSTANT_VOLUME, f"every voxel is {float(array.flat[0]):.4g}"
    else:
        constant = _constant_slices(image)
        lasting = np.flatnonzero(~constant)
        inside = int(constant[lasting[0] : lasting[-1]].sum()) if len(lasting) else 0
        if inside:
            yield Check.CONSTANT_SLICES, f"{inside} of {len(constant)} slices"
        if constant.sum() > inside:
            yield Check.PADDING, f"{int(constant.sum()) - inside} of {len(constant)} slices"


def _not_finite(array: NDArray) -> int:
    return 0 if array.dtype.kind != "f" else int(array.size - np.count_nonzero(np.isfinite(array)))


def _constant(array: NDArray) -> bool:
    return bool(array.size and (array == array.flat[0]).all())


def _slice_axis(image: Volume) -> int:
    """Return the axis across which a scan was taken slice by slice: the one of the largest spacing."""
    return int(np.argmax(np.round(image.grid.spacing_mm, 3)))


def _constant_slices(image: Volume) -> NDArray[np.bool_]:
    """Return for each slice whether it has one value only; for none of slices of one voxel."""
    slices = np.moveaxis(image.array, _slice_axis(image), 0)
    if slices[0].size == 1:
        return np.zeros(len(slices), dtype=bool)
    return np.array([_constant(one) for one in slices])


def intensities(array: NDArray) -> Intensities:
    """Return the scale of an image that has a finite voxel."""
    step = max(1, array.size // _SAMPLE)
    sample = array.ravel(order="K")[::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    finite = array if array.dtype.kind != "f" else array[np.isfinite(array)]
    if not sample.size:
        sample = finite[:1].astype(np.float64)
    first, last = np.percentile(sample, [1, 99])
    body = sample[sample >= (first + last) / 2]
    return Intensities(
        low=float(finite.min()),
        high=float(finite.max()),
        mean=float(sample.mean()),
        sd=float(sample.std()),
        body=float(np.median(body)),
        spread=float(last - first),
        integers_only=bool((sample == np.rint(sample)).all()),
        distinct=len(np.unique(sample)),
    )


def fingerprint(array: NDArray) -> str:
    """Return a hash of voxels that does not depend on the type they are stored as, nor on the grid."""
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    for start in range(0, array.shape[-1], 16):
        digest.update(np.ascontiguousarray(array[..., start : start + 16], dtype=np.float32).tobytes())
    return digest.hexdigest()
