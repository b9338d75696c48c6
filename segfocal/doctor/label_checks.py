"""Checks of a label map's voxels, and of its grid beside that of its image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.doctor.checks import Check, Found
from segfocal.doctor.image_checks import Intensities
from segfocal.grid import Grid
from segfocal.io import nifti

LARGEST_LABEL = 999
_SPECK = 4  # voxels; fewer are a speck
_LABEL_LIKE = 128  # distinct values; an image has more
_DEGREES, _RATIO, _MM = 0.5, 1e-3, 0.01  # what counts as the same direction, spacing and place


def label_findings(array: NDArray) -> Iterator[Found]:
    """Yield what is wrong with a label map's voxels by themselves."""
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            yield Check.NOT_FINITE, f"{int(array.size - finite.sum())} of {array.size} voxels"
            array = array[finite]
        off = np.abs(array - np.rint(array))
        if off.size and off.max() > nifti.ALMOST_WHOLE:
            yield Check.NOT_WHOLE, f"values such as {array[off > nifti.ALMOST_WHOLE].flat[0]!s}"
            return
        if off.size and off.max() > 0:
            yield Check.ALMOST_WHOLE, f"values such as {array[off > 0].flat[0]!s}"
            array = np.rint(array)
    if nifti.like_an_image(array):
        yield Check.NOT_A_LABEL_MAP, f"values from {float(array.min()):.6g} to {float(array.max()):.6g}"


def integer_labels(array: NDArray) -> NDArray[np.int16] | None:
    """Return a label map as integers, NaN as 0 and almost whole values rounded; None where it is no label map."""
    if any(check in (Check.NOT_WHOLE, Check.NOT_A_LABEL_MAP) for check, _ in label_findings(array)):
        return None
    if array.dtype.kind == "f":
        array = np.rint(np.where(np.isfinite(array), array, 0))
    return array.astype(np.int16)


def value_findings(labels: NDArray[np.int16], counts: Mapping[int, int], names: Mapping[str, int]) -> Iterator[Found]:
    """Yield what is wrong with the values of a label map. names: the values known; empty where none are."""
    found = sorted(set(counts) - {0})
    if not found:
        yield Check.EMPTY_LABEL, "0 everywhere"
        return
    if 0 not in counts:
        yield Check.NO_BACKGROUND, f"values {found[:8]} everywhere"
    unknown = [value for value in found if names and value not in names.values()]
    if unknown:
        yield Check.UNKNOWN_VALUE, ", ".join(f"{value} ({counts[value]} voxels)" for value in unknown[:8])
    specks, structures = _specks(labels)
    if specks:
        yield Check.TINY_COMPONENTS, f"{specks} in {structures} structure{'s' * (structures > 1)}"


def counts_of(labels: NDArray[np.int16]) -> dict[int, int]:
    """Return the number of voxels of each value."""
    counts = np.bincount(labels.ravel(order="K"))
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _specks(labels: NDArray[np.int16]) -> tuple[int, int]:
    """Return the number of connected pieces (26 neighbours) of few voxels, and of structures that have such."""
    inside = [np.flatnonzero(labels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = labels[tuple(slice(i[0], i[-1] + 1) for i in inside)]
    numbers, sizes = components(box)
    small = np.r_[False, sizes < _SPECK]
    return int(small.sum()), len(np.unique(box[small[numbers]]))


def grid_findings(image: Grid, label: Grid) -> Iterator[Found]:
    """Yield in what the grid of a label differs from that of its image, each way by itself."""
    turn = label.turn_to(image)
    if turn is not None:
        if label.frame != image.frame:
            yield Check.GRID_TURNED, f"{label.frame} against {image.frame} of the image"
        moved = image.shift_mm(label.oriented(turn))
        if moved > _MM:
            yield Check.GRID_NEAR, f"voxels up to {moved:.3g} mm apart"
        return
    if not _touching(image, label):
        yield Check.APART, "no voxel of one lies within the other"
        return
    if image.shape != label.shape:
        yield Check.GRID_SHAPE, f"{label.shape} against {image.shape} of the image"
    ratio = np.array(label.spacing_mm) / np.array(image.spacing_mm)
    spaced = bool((np.abs(ratio - 1) > _RATIO).any())
    if spaced:
        yield Check.GRID_SPACING, f"{_rounded(label)} mm against {_rounded(image)} mm of the image"
    turned = _angle(image, label)
    if turned > _DEGREES:
        yield Check.GRID_DIRECTION, f"{label.frame} against {image.frame} of the image, {turned:.1f}°"
    moved = float(np.linalg.norm(_centre(image) - _centre(label)))
    nothing_else = image.shape == label.shape and not spaced and turned <= _DEGREES
    if moved > _MM or nothing_else:
        yield Check.GRID_ORIGIN, f"centres {moved:.4g} mm apart"


def suspect_swap(image: Intensities, label: NDArray) -> bool:
    """Return whether the image looks like a label map and the label like an image."""
    like = image.integers_only and image.low >= 0 and image.high <= LARGEST_LABEL and image.distinct <= _LABEL_LIKE
    return like and integer_labels(label) is None


def _rounded(grid: Grid) -> str:
    return " × ".join(f"{value:.4g}" for value in grid.spacing_mm)


def _angle(one: Grid, other: Grid) -> float:
    cosines = [
        np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
        for a, b in zip(one.affine[:3, :3].T, other.affine[:3, :3].T, strict=True)
    ]
    return float(np.degrees(np.arccos(np.clip(min(cosines), -1, 1))))


def _centre(grid: Grid) -> NDArray:
    return (grid.affine @ [*((size - 1) / 2 for size in grid.shape), 1.0])[:3]


def _touching(one: Grid, other: Grid) -> bool:
    """Return whether the boxes around two grids, along the axes of the body, share space."""
    (low_1, high_1), (low_2, high_2) = _box(one), _box(other)
    return bool((low_1 < high_2).all() and (low_2 < high_1).all())


def _box(grid: Grid) -> tuple[NDArray, NDArray]:
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in grid.shape])).reshape(3, -1)
    world = grid.affine[:3, :3] @ corners + grid.affine[:3, 3:]
    return world.min(1), world.max(1)
