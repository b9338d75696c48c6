"""What a file of prompts holds: the schema, and how many prompts there may be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter

from segfocal.errors import UserError
from segfocal.foreign import door
from segfocal.foreign.schema import Schema

MOST_ENTRIES = 10_000  # of a file
MOST_ON_A_SLICE = 1_000  # prompts of a structure
MOST_POSITIONS = 2_000  # of a scribble or lasso
_LIMITS = door.Limits(mebibytes=16, finite=False)  # a position that is not finite is told with its entry


def _whole_name(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path without a NUL")
    return text


def _yes(value: bool) -> bool:
    if not value:
        raise ValueError("true")
    return value


def _position(values: Any) -> Any:
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numbers or len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise ValueError("three numbers, [i, j, k] voxels or [x, y, z] mm")
    return values


Position = Annotated[list[float], Field(min_length=3, max_length=3), BeforeValidator(_position)]
Line = Annotated[list[Position], Field(min_length=1, max_length=MOST_POSITIONS)]
Outline = Annotated[list[Position], Field(min_length=3, max_length=MOST_POSITIONS)]
Space = Literal["voxel", "world"]
SPACES: tuple[str, ...] = get_args(Space)
FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_whole_name)]


class Entry(Schema):
    """What all prompts say: of which structure; it may be left out where the model has one."""

    model_config = ConfigDict(extra="forbid")

    structure: str | None = None


class BoxEntry(Entry):
    """Two corners of a box: voxels that are both inside, or mm of its edges."""

    lower: Position
    upper: Position
    space: Space | None = None


class PointEntry(Entry):
    """A click inside the structure, or outside."""

    point: Position
    inside: bool = True
    space: Space | None = None


class ScribbleEntry(Entry):
    """A line through positions, inside the structure or outside; each slice gets the piece that lies in it."""

    scribble: Line
    inside: bool = True
    space: Space | None = None


class LassoEntry(Entry):
    """A closed outline on one slice: around the structure, or around what is none of it."""

    lasso: Outline
    inside: bool = True
    space: Space | None = None


class MaskEntry(Entry):
    """A label file on the scan's grid, its path relative to the file of prompts; all slices that it marks, or one."""

    mask: FilePath
    value: int | None = None
    slice: int | None = None


class AbsentEntry(Entry):
    """A slice on which there is nothing of the structure."""

    absent: Annotated[bool, AfterValidator(_yes), Field(json_schema_extra={"const": True})]
    slice: int


AnyEntry = BoxEntry | PointEntry | ScribbleEntry | LassoEntry | MaskEntry | AbsentEntry


class PromptFile(Schema):
    """Prompts with one space for all that name none."""

    model_config = ConfigDict(extra="forbid")

    space: Space = "voxel"
    prompts: Annotated[list[AnyEntry], Field(max_length=MOST_ENTRIES)]


KINDS: dict[str, type[Entry]] = {
    "box": BoxEntry,
    "point": PointEntry,
    "scribble": ScribbleEntry,
    "lasso": LassoEntry,
    "mask": MaskEntry,
    "absent": AbsentEntry,
}


def kind_of(entry: Any) -> str | None:
    """Return which kind of prompt an entry is by its keys; None where it is none."""
    if not isinstance(entry, dict):
        return None
    for kind, form in KINDS.items():
        needed = {name for name, field in form.model_fields.items() if field.is_required()}
        if needed <= set(entry) <= set(form.model_fields):
            return kind
    return None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of prompts: a list, one prompt, or an object with space and prompts."""
    entries = Annotated[list[AnyEntry], Field(max_length=MOST_ENTRIES)]
    return TypeAdapter(PromptFile | entries | AnyEntry).json_schema()


def read_entries(path: Path) -> tuple[Any, Any]:
    """Return the list of entries of a file and the space of those that name none; neither is checked further.

    Raises:
        UserError: missing, no JSON, too many entries.
    """
    listed, space = door.read_json(path, _LIMITS), "voxel"
    if isinstance(listed, dict) and "prompts" in listed:
        space, listed = listed.get("space", space), listed["prompts"]
    elif isinstance(listed, dict) and listed:
        listed = [listed]
    if isinstance(listed, list) and len(listed) > MOST_ENTRIES:
        raise UserError(
            expected=f"at most {MOST_ENTRIES:,} prompts in a file",
            found=f"{len(listed):,}",
            where=path,
            do="keep those on a few slices: they are propagated to the others",
        )
    return listed, space
