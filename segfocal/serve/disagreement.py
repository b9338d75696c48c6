"""Which slices to look at: where the mask differs from the label of the scan, and where it is empty in between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.io import volumes
from segfocal.serve.drawn import in_world
from segfocal.serve.refusal import Refused
from segfocal.serve.session import Session

_SAME = 0.999  # Dice of a slice, from which nobody need look


def disagreement(session: Session, structure: str | None) -> list[dict[str, Any]]:
    """Return slices along the model's axis, the worst first.

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
    rows = [_row(session, int(index), "empty", None) for index in _gaps(mask.any(others))]
    label = _label_of(session)
    if label is not None:
        values = [value for one in chosen for value in one.label_values]
        wanted = np.isin(label, values)
        both, total = (mask & wanted).sum(others), mask.sum(others) + wanted.sum(others)
        dice = np.divide(2.0 * both, total, out=np.ones(len(total)), where=total > 0)
        order = np.argsort(dice, kind="stable")
        rows += [_row(session, int(z), "differs", round(float(dice[z]), 4)) for z in order if dice[z] < _SAME]
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


def _row(session: Session, index: int, kind: str, dice: float | None) -> dict[str, Any]:
    middle = [(size - 1) / 2 for size in session.grid.shape]
    middle[session.slice_axis] = index
    return {"index": index, "world_mm": in_world([middle], session.grid)[0], "kind": kind, "dice": dice}
