"""Surface distances of two masks: HD, HD95, ASSD and NSD.

    HD    the largest distance from a surface voxel of one mask to the other mask's surface, of both directions
    HD95  the larger of the two directed 95th percentiles, interpolated linearly
    ASSD  the mean over the surface voxels of both masks together
    NSD   the share of the surface voxels of both masks together that lie within a tolerance of the other surface

Distances are in mm, from voxel centre to voxel centre, on a sheared grid too. The surface is every voxel of a mask with
a neighbour by a face outside it, or at the border of the volume. Surface voxels count alike, whatever their area.

Implementations differ. These are MONAI's definitions (`compute_hausdorff_distance` with percentile=95,
`compute_average_surface_distance` with symmetric=True, `compute_surface_dice` without subvoxels). MedPy takes one
percentile of both directions together and, for ASSD, the mean of the two directed means, which is another number where
one surface is larger. DeepMind's surface-distance (Nikolov et al., arXiv:1809.04430) places the surface between voxels
and weighs each element by its area, as does MONAI with use_subvoxels.

Empty masks: when both are, distances are 0 and NSD is 1; when one of them is, distances are the diagonal of the volume,
which none exceeds, and NSD is 0.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from segfocal.distance_transform import edt

Steps = tuple[float, ...] | NDArray[np.float64]  # spacings along the axes, or a matrix of steps as columns

_ROUNDING = 1e-5  # distances are of float32: one that equals the tolerance must not fall outside by its last digit
_VOXELS_A_POINT = 28  # voxels whose distance transform takes as long as one point's search in a tree, measured


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceDistances:
    """The distances from which every surface metric of two masks follows; `between` measures them once for all.

    Args:
        from_prediction: distance in mm from each surface voxel of the prediction to the nearest one of the reference;
            empty where either mask is.
        from_reference: the other direction.
        diagonal_mm: of the volume, the distance where one mask is empty.
        both_empty: whether both masks are.
    """

    from_prediction: NDArray[np.float64]
    from_reference: NDArray[np.float64]
    diagonal_mm: float
    both_empty: bool

    @classmethod
    def between(
        cls,
        prediction: NDArray,
        reference: NDArray,
        steps_mm: Steps,
        *,
        volume_shape: tuple[int, ...] | None = None,
    ) -> SurfaceDistances:
        """Measure two masks, exactly.

        Args:
            prediction: mask [*space] of any number of axes, non-zero inside.
            reference: mask of the same shape.
            steps_mm: size of a voxel along each axis, in mm; of a sheared grid a matrix whose columns are the steps to
                the next voxels.
            volume_shape: of the volume from which the masks were cut, for the diagonal; None where they are whole. A
                cut that holds both masks changes no distance.

        Raises:
            ValueError: masks of different shapes, another number of spacings than axes.
        """
        if prediction.shape != reference.shape or prediction.ndim != len(steps_mm):
            raise ValueError(
                f"expected masks of one shape with a spacing for each axis; got {prediction.shape}, {reference.shape} "
                f"and {steps_mm}"
            )
        diagonal = diagonal_mm(volume_shape or prediction.shape, steps_mm)
        box = joint_box(prediction, reference)
        one, other = (np.ascontiguousarray(mask[box] != 0) for mask in (prediction, reference))
        there = one.any(), other.any()
        if not all(there):
            nothing = np.zeros(0)
            return cls(from_prediction=nothing, from_reference=nothing, diagonal_mm=diagonal, both_empty=not any(there))
        surfaces = surface_of(one), surface_of(other)
        return cls(
            from_prediction=_distances(*surfaces, steps_mm),
            from_reference=_distances(*surfaces[::-1], steps_mm),
            diagonal_mm=diagonal,
            both_empty=False,
        )

    @property
    def hd(self) -> float:
        """HD in mm: the largest distance of both directions (Hausdorff)."""
        return self._larger(100)

    @property
    def hd95(self) -> float:
        """HD95 in mm: the larger of the two directed 95th percentiles."""
        return self._larger(95)

    @property
    def assd(self) -> float:
        """ASSD in mm: the mean distance over the surface voxels of both masks."""
        count = len(self.from_prediction) + len(self.from_reference)
        return float(self.from_prediction.sum() + self.from_reference.sum()) / count if count else self._unmeasured()

    def nsd(self, tolerance_mm: float) -> float:
        """Return NSD: the share in [0,1] of both surfaces that lies within `tolerance_mm` of the other.

        A distance equal to the tolerance is within it. ValueError for a tolerance below 0.
        """
        if not tolerance_mm >= 0:
            raise ValueError(f"expected a tolerance ≥ 0 mm; got {tolerance_mm}")
        count = len(self.from_prediction) + len(self.from_reference)
        if not count:
            return float(self.both_empty)
        limit = tolerance_mm * (1 + _ROUNDING)
        return sum(int(np.count_nonzero(d <= limit)) for d in (self.from_prediction, self.from_reference)) / count

    def _larger(self, percentile: float) -> float:
        if not len(self.from_prediction):
            return self._unmeasured()
        return float(max(np.percentile(d, percentile) for d in (self.from_prediction, self.from_reference)))

    def _unmeasured(self) -> float:
        return 0.0 if self.both_empty else self.diagonal_mm


def diagonal_mm(shape: tuple[int, ...], steps_mm: Steps) -> float:
    """Return the longest diagonal of a volume, steps as in `SurfaceDistances.between`."""
    sides = step_matrix(steps_mm) * np.array(shape)
    ways = itertools.product((1, -1), repeat=len(shape) - 1) if np.ndim(steps_mm) == 2 else [(1,) * (len(shape) - 1)]
    return max(float(np.linalg.norm(sides @ (1, *way))) for way in ways)


def step_matrix(steps_mm: Steps) -> NDArray[np.float64]:
    """Return the step along each axis as a column."""
    steps = np.asarray(steps_mm, dtype=np.float64)
    return steps if steps.ndim == 2 else np.diag(steps)


def hausdorff95(prediction: NDArray, reference: NDArray, steps_mm: Steps) -> float:
    """Return HD95 in mm of two masks [*space], non-zero inside, with voxels of `steps_mm`.

    Raises:
        ValueError: masks of different shapes, another number of spacings than axes.
    """
    return SurfaceDistances.between(prediction, reference, steps_mm).hd95


def joint_box(one: NDArray, other: NDArray) -> tuple[slice, ...]:
    """Return the smallest box that holds both masks; axis by axis, each in what the ones before it left."""
    box: list[slice] = [slice(None)] * one.ndim
    for axis in range(one.ndim):
        rest = tuple(other_axis for other_axis in range(one.ndim) if other_axis != axis)
        here = one[tuple(box)].any(axis=rest) | other[tuple(box)].any(axis=rest)
        inside = np.flatnonzero(here)
        box[axis] = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
    return tuple(box)


def surface_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask that have a neighbour by a face outside it, or none at all."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        along = np.moveaxis(mask, axis, 0)
        kept = np.moveaxis(inner, axis, 0)
        kept[1:] &= along[:-1]
        kept[:-1] &= along[1:]
        kept[0] = kept[-1] = False
    return mask & ~inner


def _distances(start: NDArray[np.bool_], target: NDArray[np.bool_], steps_mm: Steps) -> NDArray[np.float64]:
    """Return the distance from each voxel of `start` to the nearest one of `target`, in the order of the array.

    Where few voxels lie in a large box, as of small lesions far apart, a search from each of them in a tree is faster
    than a transform of the box; both are exact. Only the tree knows axes that are not at right angles.
    """
    apart = start & ~target
    count = int(np.count_nonzero(apart))
    found = np.zeros(int(np.count_nonzero(start)))
    if isinstance(steps_mm, np.ndarray) or start.ndim not in (2, 3) or _VOXELS_A_POINT * count < start.size:
        steps = step_matrix(steps_mm).T
        if count:
            tree = KDTree(np.argwhere(target) @ steps, leafsize=32)
            found[apart[start]] = tree.query(np.argwhere(apart) @ steps)[0]
        return found
    squared = edt(~target, spacing=steps_mm, squared=True)
    return np.sqrt(squared[start].astype(np.float64))
