"""Which slices to look at: where the mask differs from the label of the scan, and where it is empty in between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.grid import Grid
from segfocal.io import volumes
from segfocal.serve.drawn import in_world
from segfocal.serve.refusal import Refused
from segfocal.serve.session import Session

_SAME = 0.999  # Dice of a slice, from which nobody need look


def disagreement(session: Session, structure: str | None) -> list[dict[str, Any]]:
    """Return slices along the model's axis: the empty ones, then those unlike the label, the largest difference first.

    Args:
        session: whose mask is looked at.
        structure: that counts; None: all that are marked, as one.
    """
    names = {one.name: one for one in session.structures}
    if structure is not None and structure not in names:
        raise Refused(
            422, expected=f"structure {' or '.join(names)}", found=repr(structure)[:60], do="name one, or none"
        )
    chosen = list(names.values()) if structure is None else [names[structure]]
    labels = session.mask()
    mask = np.any([one.inside(labels) for one in chosen], axis=0)
    others = tuple({0, 1, 2} - {session.slice_axis})
    rows = [
        _row(session.grid, int(z), _middle(session.grid, session.slice_axis, int(z)), kind="empty")
        for z in _gaps(mask.any(others))
    ]
    label = _label_of(session)
    if label is not None:
        values = [value for one in chosen for value in one.label_values]
        wanted = np.isin(label, values)
        rows += slices_unlike(mask, wanted, axis=session.slice_axis, grid=session.grid)
    return rows


def _gaps(marked: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the unmarked slices between marked ones."""
    places = np.flatnonzero(marked)
    if not len(places):
        return places
    return np.setdiff1d(np.arange(places[0], places[-1]), places)


def _label_of(session: Session) -> NDArray | None:
    """Return the label values that the folder has for the scan, on its grid; None without any."""
    if session.scan.label is None:
        return None
    values = {one.name: one.value for one in session.structures}
    stored = volumes.read_labels(session.scan.label, on=session.grid, values=values)
    return volumes.laid(stored, session.grid, session.scan.label, expected="a label on the scan's grid").array


def _middle(grid: Grid, axis: int, index: int) -> list[float]:
    middle = [(size - 1) / 2 for size in grid.shape]
    return [*middle[:axis], float(index), *middle[axis + 1 :]]


def slices_unlike(mask: NDArray[np.bool_], wanted: NDArray[np.bool_], *, axis: int, grid: Grid) -> list[dict[str, Any]]:
    """Return the slices on which two masks differ, those with the largest difference first.

    Args:
        mask: of the grid's shape.
        wanted: the same.
        axis: along which slices run.
        grid: of both.
    """
    others = tuple({0, 1, 2} - {axis})
    differs = np.moveaxis(mask ^ wanted, axis, 0)
    wrong, total = differs.sum((1, 2)), mask.sum(others) + wanted.sum(others)
    pixel_mm2 = float(np.prod([grid.spacing_mm[other] for other in others]))
    rows = []
    for z in np.argsort(-wrong, kind="stable")[: np.count_nonzero(wrong)]:
        dice = 1 - wrong[z] / total[z]  # |A xor B| = |A| + |B| - 2 |A and B|
        if dice < _SAME:
            at = _inside_largest(differs[z])
            place = [*at[:axis], float(z), *at[axis:]]
            rows.append(_row(grid, int(z), place, kind="differs") | _size(dice, wrong[z] * pixel_mm2))
    return rows


def _inside_largest(differs: NDArray[np.bool_]) -> list[float]:
    """Return the pixel of the largest piece that is nearest to its middle; that of many lesions lies between them."""
    pieces = components(differs)
    pixels = np.argwhere(pieces.numbers == int(pieces.sizes.argmax()) + 1)
    nearest = ((pixels - pixels.mean(0)) ** 2).sum(1).argmin()
    return [float(one) for one in pixels[nearest]]


def _size(dice: float, mm2: float) -> dict[str, float]:
    return {"dice": round(float(dice), 4), "mm2": round(float(mm2), 1)}


def _row(grid: Grid, index: int, place: list[float], *, kind: str) -> dict[str, Any]:
    """Return a slice and a voxel of it, fractions allowed, to look at."""
    return {"index": index, "world_mm": in_world([place], grid)[0], "kind": kind, "dice": None, "mm2": None}
