"""How much of each case is foreground: voxels of each label value, counted once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from segfocal.data.case import Case
from segfocal.data.label_scheme import OBJECTS
from segfocal.errors import UserError
from segfocal.files import read_json, write_json
from segfocal.foreign.schema import checked
from segfocal.io import volumes
from segfocal.structure import Structure

_AT_A_TIME = 4  # labels read: inflating them leaves Python's lock
COUNTS = "label_counts.json"
_COUNTS = TypeAdapter(dict[str, dict[Annotated[str, Field(pattern=r"^-?[0-9]{1,12}$")], int]])


def foreground_shares(cases: Sequence[Case], structures: Sequence[Structure], cache: Path) -> list[float]:
    """Return the share of each case's voxels that lie in any of the structures, where masks overlap counted twice.

    Voxels are counted once a file and kept in `cache`, until the file changes.

    Raises:
        UserError: an unreadable label.
    """
    counts = _counts([path for case in cases for path in case.label_files], cache / COUNTS)
    wanted = {value for structure in structures for value in structure.label_values}
    every = structures[0].name == OBJECTS
    shares = []
    for case in cases:
        if case.masks is None:
            own = counts[case.label]
            inside = sum(count for value, count in own.items() if value in wanted)
            total = sum(own.values())
        else:
            chosen = [mask.path for mask in case.masks if every or mask.value in wanted]
            inside = sum(count for path in chosen for value, count in counts[path].items() if value != 0)
            total = sum(counts[chosen[0]].values()) if chosen else 1
        shares.append(inside / total)
    return shares


def _counts(paths: Sequence[Path], kept: Path) -> dict[Path, dict[int, int]]:
    """Return the voxels of each value in each file, from the file `kept` where they have been counted before."""
    known = _kept(kept)
    keys = {path: _key(path) for path in paths}
    missing = [path for path, key in keys.items() if key not in known]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        known |= {keys[path]: own for path, own in zip(missing, pool.map(_counted, missing), strict=True)}
    if missing:
        write_json(kept, known)
    return {path: {int(value): count for value, count in known[key].items()} for path, key in keys.items()}


def _kept(file: Path) -> dict[str, Any]:
    """Return what was counted before; nothing where the file is missing or damaged: it is counted again."""
    try:
        counted = checked(read_json(file), _COUNTS, where=file) if file.is_file() else {}
    except UserError:
        return {}
    return {**counted}


def _key(path: Path) -> str:
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"


def _counted(path: Path) -> dict[str, int]:
    values, counts = np.unique(volumes.read_mask(path).array, return_counts=True)
    return {str(value): int(count) for value, count in zip(values.tolist(), counts, strict=True)}
