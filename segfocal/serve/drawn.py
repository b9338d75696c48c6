"""What a person draws, as entries of a file of prompts: points, boxes, scribbles and lassos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid
from segfocal.inference.prompted.prompt_entries import MOST_POSITIONS
from segfocal.serve.refusal import Refused
from segfocal.structure import Structure

KINDS: dict[str, bool | str] = {"point": True, "box": True, "scribble": True, "lasso": True}  # or how they are asked
LEAST_PLACES = {"point": 1, "box": 2, "scribble": 1, "lasso": 3}
MOST_PLACES = {"point": 1, "box": 2, "scribble": MOST_POSITIONS, "lasso": MOST_POSITIONS}

Places = Sequence[Sequence[float]]


def named(structure: str | None, structures: Sequence[Structure]) -> str:
    """Return the name of a structure, the only one where none is named; Refused where it is unknown."""
    names = [one.name for one in structures]
    chosen = names[0] if structure is None and len(names) == 1 else structure
    if chosen not in names:
        found = "none named" if structure is None else repr(structure)[:60]
        raise Refused(422, expected=f"structure {' or '.join(names)}", found=found, do="name one of them")
    return str(chosen)


def plain(places: Places) -> list[list[float]]:
    """Return places as lists of plain numbers."""
    return [[float(value) for value in place] for place in places]


def absence(structure: str, place: Sequence[float], *, axis: int, grid: Grid) -> dict[str, Any]:
    """Return the entry that says that a slice holds nothing of a structure.

    Args:
        structure: by name.
        place: in world mm, on that slice.
        axis: of the scan's array, along which the model's slices run.
        grid: of the scan.
    """
    check_places("point", [place], grid)
    index = int(np.floor(in_voxels([place], grid)[0, axis] + 0.5))
    return {"structure": structure, "absent": True, "slice": min(max(index, 0), grid.shape[axis] - 1)}


def check_places(kind: str, places: Places, grid: Grid) -> None:
    """Raise Refused for a kind that is unknown, too few or too many places, or one outside the scan.

    A box may reach to the edges of the outer voxels, anything else half a voxel beyond their middles likewise.
    """
    if kind not in KINDS:
        raise Refused(422, expected=f"kind {', '.join(KINDS)}", found=repr(kind)[:40], do="draw one of these")
    least, most = LEAST_PLACES[kind], MOST_PLACES[kind]
    if not least <= len(places) <= most:
        many = f"{least}" if least == most else f"{least} to {most:,}"
        raise Refused(
            422, expected=f"{many} place{'s' * (most > 1)} of a {kind}", found=f"{len(places):,}", do="draw it anew"
        )
    voxels = in_voxels(places, grid)
    outside = ~((voxels >= -0.51) & (voxels <= np.array(grid.shape) - 0.49)).all(1)
    if outside.any():
        first = int(outside.argmax())
        raise Refused(
            422,
            expected=f"places inside the scan, voxels 0 to {[size - 1 for size in grid.shape]}",
            found=f"{list(places[first])} mm, voxel {np.round(voxels[first], 1).tolist()}",
            do="give world millimetres (RAS+) of this scan",
        )


def in_voxels(places: Places, grid: Grid) -> NDArray[np.float64]:
    """Return world places in mm as continuous voxel indices [n,3]."""
    world = np.array(places, dtype=np.float64).reshape(-1, 3)
    return (world - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T


def in_world(voxels: Places, grid: Grid) -> list[list[float]]:
    """Return voxel indices as world places in mm."""
    places = np.array(voxels, dtype=np.float64).reshape(-1, 3)
    return (places @ grid.affine[:3, :3].T + grid.affine[:3, 3]).tolist()


def entries_of(kind: str, structure: str, places: Places, *, positive: bool, grid: Grid) -> list[dict[str, Any]]:
    """Return what was drawn as entries of a file of prompts, in world millimetres.

    Args:
        kind: point, box, scribble or lasso.
        structure: by name.
        places: [n,3] in mm.
        positive: whether it marks the structure, or what is none of it.
        grid: of the scan.

    Raises:
        Refused: as `check_places`; a box that marks what is none of the structure.
    """
    check_places(kind, places, grid)
    if not positive and kind == "box":
        raise Refused(422, expected="a box round the structure", found="positive: false", do="use a lasso or scribble")
    drawn = plain(places)
    own: dict[str, Any] = {kind: drawn[0] if kind == "point" else drawn, "inside": positive}
    if kind == "box":
        own = {"lower": drawn[0], "upper": drawn[1]}
    return [{"structure": structure, **own, "space": "world"}]
