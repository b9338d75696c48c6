"""Prompts of a user for slices of a scan, read from a JSON file: boxes, points, scribbles, lassos, masks, absences.

docs/prompted_volumes.md describes the file. Here everything is brought to the model's grid: boxes x0 y0 x1 y1 are edges
of pixels, half-open; points x y, also of scribbles and lassos, are pixel indices, whole at a pixel's middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.foreign.door import shown
from segfocal.foreign.schema import checked
from segfocal.grid import Grid, Volume
from segfocal.inference.prompted.prompt_entries import KINDS, MOST_ON_A_SLICE, SPACES, kind_of, read_entries
from segfocal.inference.prompted.scan_prompts import SlicePrompt
from segfocal.inference.prompted.slice_pieces import pieces_of
from segfocal.io import volumes
from segfocal.resample import ModelGrid, nearest_slices, resize_slices, slices_joined
from segfocal.structure import Structure

_SHAPES = (
    '{"lower", "upper"}, {"point", "inside"}, {"scribble", "inside"}, {"lasso", "inside"}, {"mask", "value", "slice"} '
    'or {"absent": true, "slice"}'
)


def read_prompts(
    path: str | Path, scan: Grid, structures: Sequence[Structure], grid: ModelGrid, *, boxes_only: bool = False
) -> list[SlicePrompt]:
    """Read the prompts of a scan, in the order of the file, one for each slice that they reach.

    Args:
        path: a JSON file, as docs/prompted_volumes.md describes it.
        scan: the scan's own grid, on which the file says where things are.
        structures: those of the bundle, which prompts name.
        grid: the model's, to which everything is brought.
        boxes_only: whether only boxes are taken; there may then be none.

    Raises:
        UserError: missing or malformed file; an entry that is malformed, of no structure or outside the scan.
    """
    path = Path(path)
    listed, space = read_entries(path)
    return prompts_of(listed, scan, structures, grid, space=space, boxes_only=boxes_only, path=path)


def prompts_of(
    listed: Any,
    scan: Grid,
    structures: Sequence[Structure],
    grid: ModelGrid,
    *,
    space: Any = "voxel",
    boxes_only: bool = False,
    path: Path = Path("the prompts given"),
) -> list[SlicePrompt]:
    """Return the prompts that a list of entries asks for, as `read_prompts` does those of a file.

    Args:
        listed: entries as docs/prompted_volumes.md describes them.
        scan: as of `read_prompts`, like the next three.
        structures: those of the bundle.
        grid: the model's.
        space: voxel or world, of entries that name none.
        boxes_only: whether only boxes are taken.
        path: to be named in messages; masks are named relative to its folder.

    Raises:
        UserError: as `read_prompts`.
    """
    if not isinstance(listed, list) or space not in SPACES or not (listed or boxes_only):
        raise UserError(
            expected='a list of prompts, or {"space": "world", "prompts": [...]} with space voxel or world',
            found="no prompt" if listed == [] else shown(listed) if space in SPACES else f"space {shown(space)}",
            where=path,
            do="write each prompt as docs/prompted_volumes.md shows",
        )
    reader = _Reader(path, scan, structures, grid, space=space, boxes_only=boxes_only)
    found, counts = list[SlicePrompt](), Counter[tuple[int, int]]()
    for number, entry in enumerate(listed, start=1):
        prompts = reader.prompts(entry, number)
        found += prompts
        counts.update((prompt.structure, prompt.slice) for prompt in prompts)
        reader.check_count(max(counts[prompt.structure, prompt.slice] for prompt in prompts))
    return found


def read_new_prompts(
    entries: Sequence[Any], path: Path, scan: Grid, structures: Sequence[Structure], grid: ModelGrid
) -> list[SlicePrompt]:
    """Return what entries that join a file of prompts become; the others of it are not read again.

    Args:
        entries: as in the file.
        path: the file, for messages and masks beside it; it need not be there.
        scan: as of `read_prompts`.
        structures: as of `read_prompts`.
        grid: as of `read_prompts`.

    Raises:
        UserError: as `read_prompts` about an entry; they are counted from 1.
    """
    reader = _Reader(path, scan, structures, grid, space="voxel", boxes_only=False)
    return [prompt for number, entry in enumerate(entries, start=1) for prompt in reader.prompts(entry, number)]


class _Reader:
    """Turns entries of one file into prompts on the model's grid."""

    def __init__(
        self, path: Path, scan: Grid, structures: Sequence[Structure], grid: ModelGrid, *, space: str, boxes_only: bool
    ) -> None:
        self.path, self.scan, self.grid, self.space, self.boxes_only = path, scan, grid, space, boxes_only
        self.names = [structure.name for structure in structures]
        self.target = grid.of(scan)
        self.number = 0
        self.mask: tuple[Path, Volume] | None = None

    def prompts(self, entry: Any, number: int) -> list[SlicePrompt]:
        """Return the prompts of an entry, the `number`-th of the file."""
        self.number = number
        kind = self._kind(entry)
        if self.boxes_only and kind != "box":
            do = "leave out prompt=box: prompts are then propagated"
            raise self._wrong('boxes alone, by "lower" and "upper", for prompt=box', f"a {kind}", do)
        structure = self._structure(entry)
        space = entry.get("space") or self.space
        if kind == "box":
            return self._box(entry, structure, space)
        if kind == "point":
            return [self._point(entry, structure, space)]
        if kind == "scribble":
            return self._scribble(entry, structure, space)
        if kind == "lasso":
            return [self._lasso(entry, structure, space)]
        return self._mask(entry, structure) if kind == "mask" else [self._absence(entry, structure)]

    def check_count(self, most: int) -> None:
        """Raise UserError when a slice has more prompts of a structure than are answered."""
        if most > MOST_ON_A_SLICE:
            expected, do = f"at most {MOST_ON_A_SLICE:,} prompts of a structure on a slice", "leave the others out"
            raise self._wrong(expected, f"{most:,}", do)

    def _wrong(self, expected: str, found: str, do: str = "mend that entry") -> UserError:
        return UserError(expected=expected, found=found, where=f"{self.path}, entry {self.number}", do=do)

    def _kind(self, entry: Any) -> str:
        kind = kind_of(entry)
        if kind is None:
            raise self._wrong(f"a prompt with {_SHAPES}, and its structure", shown(entry))
        checked(entry, KINDS[kind], where=f"{self.path}, entry {self.number}", do="mend that entry")
        return kind

    def _structure(self, entry: dict[str, Any]) -> int:
        named = entry.get("structure", self.names[0] if len(self.names) == 1 else None)
        if named not in self.names:
            raise self._wrong(f'"structure": {" or ".join(self.names)}', shown(named) if named else "none named")
        return self.names.index(named)

    def _voxels(self, values: list[float], space: str) -> NDArray[np.float64]:
        """Return a position in continuous voxel indices of the scan, as it is on disk."""
        place = np.array(values, dtype=np.float64)
        if space == "world":
            place = np.linalg.solve(self.scan.affine, [*place, 1.0])[:3]
        return place

    def _check_inside(self, low: NDArray[np.float64], high: NDArray[np.float64], given: Any) -> None:
        """Raise UserError unless edges or a point lie in the scan; a hundredth of a voxel is forgiven."""
        outside = (low < -0.51) | (high > np.array(self.scan.shape) - 0.49)
        if outside.any():
            raise self._wrong(
                f"a place inside the scan, voxels 0 to {[size - 1 for size in self.scan.shape]}",
                f"{given}, voxels {np.round(low, 1).tolist()} to {np.round(high, 1).tolist()}",
                'give voxel indices of this scan, or mm with "space": "world"',
            )

    def _on_model(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return continuous indices (slice, y, x) of the model's grid.

        What is propagated is kept under a name made of them, so they are rounded: turned scans then give the same.
        """
        move = np.linalg.solve(self.target.affine, self.scan.affine)
        moved = voxels @ move[:3, :3].T + move[:3, 3]
        return moved if self.boxes_only else np.round(moved, 4)

    def _box(self, entry: dict[str, Any], structure: int, space: str) -> list[SlicePrompt]:
        corners = np.stack([self._voxels(entry[key], space) for key in ("lower", "upper")])
        given = [entry["lower"], entry["upper"]]
        if space == "voxel":
            if (corners[0] > corners[1]).any():
                raise self._wrong("lower ≤ upper on every axis", f"{given[0]} and {given[1]}")
            corners += [[-0.5], [0.5]]  # both corners are voxels of the box
        self._check_inside(corners.min(0), corners.max(0), given)
        edges = self._on_model(corners) + 0.5
        (first, y0, x0), (last, y1, x1) = edges.min(0), edges.max(0)
        if x1 - x0 < 0.01 or y1 - y0 < 0.01:
            raise self._wrong("a box with an extent in its slice", f"{given[0]} and {given[1]}")
        depth = self.target.shape[0]
        slices = [z for z in range(depth) if first <= z + 0.5 <= last] or [min(int((first + last) / 2), depth - 1)]
        box = (float(x0), float(y0), float(x1), float(y1))
        return [SlicePrompt(structure=structure, slice=z, box_xyxy=box) for z in slices]

    def _point(self, entry: dict[str, Any], structure: int, space: str) -> SlicePrompt:
        place = self._voxels(entry["point"], space)
        self._check_inside(place, place, entry["point"])
        z, y, x = self._on_model(place)
        nearest = min(max(int(np.floor(z + 0.5)), 0), self.target.shape[0] - 1)
        return SlicePrompt(
            structure=structure, slice=nearest, point_xy=(float(x), float(y)), inside=entry.get("inside", True)
        )

    def _line(self, positions: list[list[float]], space: str) -> NDArray[np.float64]:
        """Return positions as indices (slice, y, x) of the model's grid, [n,3]."""
        places = np.stack([self._voxels(position, space) for position in positions])
        self._check_inside(places.min(0), places.max(0), f"{len(places)} positions")
        return self._on_model(places)

    def _scribble(self, entry: dict[str, Any], structure: int, space: str) -> list[SlicePrompt]:
        line, inside = self._line(entry["scribble"], space), entry.get("inside", True)
        pieces = pieces_of(line, self.target.shape[0])
        return [SlicePrompt(structure=structure, slice=z, scribble_xy=xy, inside=inside) for z, xy in pieces]

    def _lasso(self, entry: dict[str, Any], structure: int, space: str) -> SlicePrompt:
        outline, inside = self._line(entry["lasso"], space), entry.get("inside", True)
        first, last = np.round([outline[:, 0].min(), outline[:, 0].max()], 2).tolist()
        if last - first > 1:
            do = "draw it on a slice of the model, or a scribble"
            raise self._wrong("a lasso on one slice", f"one from slice {first:g} to {last:g} of the model", do)
        nearest = min(max(int(np.floor((first + last) / 2 + 0.5)), 0), self.target.shape[0] - 1)
        places = tuple((x, y) for _, y, x in outline.tolist())
        return SlicePrompt(structure=structure, slice=nearest, lasso_xy=places, inside=inside)

    def _mask(self, entry: dict[str, Any], structure: int) -> list[SlicePrompt]:
        """Return a prompt for each slice that a label file marks, or for the one that is named, marked or not."""
        file = self.path.parent / entry["mask"]
        only = entry.get("slice")
        if only is not None:
            self._slice(only)
        try:
            labels = self._labels(file)
        except UserError as error:
            raise self._wrong(f"a readable mask: {error.expected}", f"{error.found} in {file}", error.do) from error
        turned = self.scan.oriented(self.scan.orientation_to(self.grid.frame))
        laid = labels.on(turned)
        if laid is None:
            difference = volumes.difference(turned, labels.grid)
            raise self._wrong("a mask on the scan's grid", f"{difference} in {file}", "resample it")
        labels = laid
        marked = labels.array == self._value(entry, np.unique(labels.array), file)
        joined = slices_joined(len(marked), self.target.shape[0])  # those of the scan, for each slice of the model
        own = {z: marked[sources].any(0) for z, sources in enumerate(joined) if marked[sources].any()}
        own = own if only is None else {self._slice(only): marked[self._turned(only)]}
        if not own:
            raise self._wrong("a mask that marks a voxel", f"none in {file}", "check its value")
        slices, masks = list(own), torch.from_numpy(resize_slices(np.stack([*own.values()]), self.target.shape[1:]))
        return [SlicePrompt(structure=structure, slice=z, mask=m) for z, m in zip(slices, masks, strict=True)]

    def _labels(self, file: Path) -> Volume:
        """Return a label map as it is stored; entries that name one file after another read it once."""
        if self.mask is None or self.mask[0] != file:
            self.mask = (file, volumes.read_labels(file))
        return self.mask[1]

    def _value(self, entry: dict[str, Any], present: NDArray, file: Path) -> int:
        values = [int(value) for value in present if value != 0]
        value = entry.get("value", values[0] if len(values) == 1 else None)
        if type(value) is not int:
            raise self._wrong(
                '"value": which label value is the structure', f"{shown(value)}; {file} has {values[:20]}"
            )
        return value

    def _absence(self, entry: dict[str, Any], structure: int) -> SlicePrompt:
        empty = torch.zeros(self.target.shape[1:])
        return SlicePrompt(structure=structure, slice=self._slice(entry["slice"]), mask=empty)

    def _slice(self, index: int) -> int:
        """Return the model's slice of an index along the scan's own slice axis; the nearest where it is resampled."""
        turn = self.scan.orientation_to(self.grid.frame)
        count = self.scan.shape[turn.axes[0]]
        if not 0 <= index < count:
            raise self._wrong(f"a slice of 0 to {count - 1}, along array axis {turn.axes[0]} of the scan", shown(index))
        return nearest_slices(self.target.shape[0], count)[self._turned(index)]

    def _turned(self, index: int) -> int:
        """Return the place of such an index along the slice axis of the turned scan."""
        turn = self.scan.orientation_to(self.grid.frame)
        return self.scan.shape[turn.axes[0]] - 1 - index if turn.flips[0] else index
