"""CC-Dice: the Dice of each lesion in the part of space nearest to it, so that a small one counts like a large one.

    C(i) = the voxels nearer to component i of the reference R than to any other (its Voronoi cell)
    Dice(i) = 2|P ∩ R ∩ C(i)| / (|P ∩ C(i)| + |R ∩ C(i)|)        CC-Dice = mean of Dice(i) over the components

A missed lesion counts 0, and what is predicted beside a lesion, however far off, lowers the Dice of the nearest one.

Only voxels that are predicted and lie outside the reference need a search: those of R belong to their own component,
and all others are in no term.

Empty masks: 1 when both are, 0 when only the reference is.

Source: Jaus et al., "Every Component Counts: Rethinking the Measure of Success for Medical Semantic Segmentation in
Multi-Instance Segmentation Tasks", arXiv:2410.18684 (CC-Metrics). Deliberate difference: distances are in mm, in the
body; CC-Metrics measures them in voxels. With steps of one length both are the same, voxels at equal distance too: they
go to the component with the lowest number. Of more than half a million wrong voxels in a box that they fill, ties go
as scipy's transform has them, which is faster.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from segfocal.metrics.components_matching import ComponentOverlaps
from segfocal.metrics.surface_distances import Steps, step_matrix, surface_of

_TIE = 1e-7  # relative; distances that differ by less are equal but for their rounding
_NEAREST = 4  # voxels that are asked for: more are seldom equally near
_AT_A_TIME = 200_000  # points of a search, for its memory
_MOST_POINTS, _VOXELS_A_POINT = 500_000, 30  # beyond both a transform of the box is faster than a search


def component_dice(overlaps: ComponentOverlaps, steps_mm: Steps) -> NDArray[np.float64]:
    """Return the Dice [n] in [0,1] of each component of the reference in its cell.

    Args:
        overlaps: of the prediction and its reference.
        steps_mm: size of a voxel along each axis, in mm; of a sheared grid a matrix whose columns are the steps to the
            next voxels.

    Raises:
        ValueError: another number of steps than axes.
    """
    if overlaps.true.numbers.ndim != len(steps_mm):
        raise ValueError(f"expected a step for each of {overlaps.true.numbers.ndim} axes; got {steps_mm}")
    sizes = overlaps.true.sizes
    wrong = (overlaps.predicted.numbers > 0) & (overlaps.true.numbers == 0)
    owners = _nearest(overlaps.true.numbers, len(sizes), wrong, steps_mm)
    beside = np.bincount(owners, minlength=len(sizes) + 1)[1:]
    return 2 * overlaps.right / (sizes + overlaps.right + beside)


def cc_dice_of(overlaps: ComponentOverlaps, steps_mm: Steps) -> float:
    """Return CC-Dice in [0,1]: the mean of `component_dice`, whose arguments it takes."""
    dice = component_dice(overlaps, steps_mm)
    return float(dice.mean()) if len(dice) else float(not len(overlaps.predicted.sizes))


def _nearest(numbers: NDArray, count: int, wrong: NDArray[np.bool_], steps_mm: Steps) -> NDArray[np.int64]:
    """Return the number of the component nearest to each voxel of a mask outside them; 0 where there is none."""
    points = int(np.count_nonzero(wrong))
    if count < 2 or not points:
        return np.full(points, count, np.int64)
    square = not isinstance(steps_mm, np.ndarray)
    if square and points > _MOST_POINTS and points * _VOXELS_A_POINT > wrong.size:
        nearest = ndimage.distance_transform_edt(
            numbers == 0, sampling=steps_mm, return_distances=False, return_indices=True
        )
        return numbers[tuple(axis[wrong] for axis in nearest)].astype(np.int64)
    inside = numbers > 0
    sites = surface_of(inside) if square else inside  # of oblique axes the nearest voxel may lie further in
    steps = step_matrix(steps_mm).T
    tree, owners = KDTree(np.argwhere(sites) @ steps, leafsize=32), numbers[sites].astype(np.int64)
    places = np.argwhere(wrong)
    parts = [places[start : start + _AT_A_TIME] @ steps for start in range(0, points, _AT_A_TIME)]
    return np.concatenate([_lowest_of_nearest(part, tree, owners) for part in parts])


def _lowest_of_nearest(places: NDArray, tree: KDTree, owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place the lowest number among the sites nearest to it."""
    k = min(_NEAREST, len(owners))
    distances, sites = tree.query(places, k=k)
    tied = distances <= distances[:, :1] * (1 + _TIE)
    lowest = np.where(tied, owners[sites], owners.max()).min(axis=1)
    more = np.flatnonzero(tied.all(axis=1)) if k < len(owners) else ()
    if len(more):
        near = tree.query_ball_point(places[more], distances[more, 0] * (1 + _TIE))
        lowest[more] = [owners[list(each)].min() for each in near]
    return lowest
