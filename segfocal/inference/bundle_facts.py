"""What bundle.json holds: the schema, and the bounds within which a model may ask for memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

import segfocal
from segfocal.errors import UserError
from segfocal.foreign import door
from segfocal.foreign.schema import Schema, checked
from segfocal.intensity_statistics import PERCENTILES, SHAPE

FORMAT = 1
LARGEST_INPUT = 1 << 28  # numbers that a model sees at once: 1 GiB of float32
_LARGEST_ARGUMENT = 1 << 16  # of a network: channels, sides, levels
_LONGEST_ARGUMENT = 256  # entries of a list, characters of a name
_LIMITS = door.Limits(mebibytes=64)

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Side = Annotated[int, Field(ge=1, le=4096)]
LabelValue = Annotated[int, Field(ge=0, lt=1 << 31)]
Spacing = Annotated[float, Field(ge=1e-4, le=1e4)]
Value = Annotated[float, Field(ge=-1e38, le=1e38)]


class StructureFacts(Schema):
    """One structure, as `segfocal.structure.Structure`.

    Args:
        name: as options and results name it.
        value: in label maps.
        overlaps: whether structures may overlap.
        of: label values of the data set whose union it is.
    """

    name: Name
    value: Annotated[int, Field(ge=1, lt=1 << 31)]
    overlaps: bool = False
    of: Annotated[list[LabelValue], Field(max_length=65_536, default_factory=list)]


class IntensityFacts(Schema):
    """A map of intensities, as `segfocal.intensity` builds it.

    Args:
        kind: `_target_`, a kind of the allow-list.
        lower: of a window.
        upper: of a window.
        low: percentile.
        high: percentile.
        each: a map for each channel.
    """

    kind: str = Field(alias="_target_")
    lower: float | None = None
    upper: float | None = None
    low: float | None = None
    high: float | None = None
    each: Annotated[list[IntensityFacts], Field(max_length=1024)] | None = None


class RangeFacts(Schema):
    """A range over the training scans, of several numbers.

    Args:
        least: of each number.
        median: of each.
        most: of each.
    """

    least: list[Value]
    median: list[Value]
    most: list[Value]

    def check(self, names: Sequence[object], *, rising: int) -> None:
        """Raise ValueError unless there is a number for each name, in order, the first so many of which rise."""
        rows = (self.least, self.median, self.most)
        if any(len(row) != len(names) for row in rows):
            raise ValueError(f"{len(names)} numbers each, of {', '.join(map(str, names))}")
        if any(list(own) != sorted(own) for own in zip(*rows, strict=True)):
            raise ValueError("least ≤ median ≤ most of each number")
        if any(row[:rising] != sorted(row[:rising]) for row in rows):
            raise ValueError("numbers that rise from one percentile to the next")


class ChannelFacts(Schema):
    """What the values of one channel of the training scans were, padding left out.

    Args:
        percentiles: the 0.5th, 5th, 25th, 50th, 75th, 95th and 99.5th of each scan.
        shape: where the 25th, 50th and 75th, and the value 0, lie between the first (0) and the last (1).
    """

    percentiles: RangeFacts
    shape: RangeFacts

    @model_validator(mode="after")
    def _in_order(self) -> ChannelFacts:
        self.percentiles.check(PERCENTILES, rising=len(PERCENTILES))
        self.shape.check(SHAPE, rising=len(SHAPE) - 1)  # 0 may lie anywhere
        return self


class BundleFacts(Schema):
    """bundle.json; a field with a default may be missing in bundles of before.

    Args:
        format: of this schema.
        segfocal: the version that wrote it.
        model: `_target_`, a model of the allow-list, and its arguments.
        frame: three letters, where the axes point to.
        spacing_mm: of a pixel (h, w) or voxel (d, h, w); None for the scan's own.
        size: pixels (h, w) of every slice; None for the spacing's.
        window: pixels (h, w) or voxels (d, h, w) that the model sees at once.
        channels: of a scan.
        neighbours: slices on each side that are further channels.
        intensity: maps a scan's values to [0,1].
        structures: one a channel of the logits.
        link: what makes probabilities of logits.
        needs_prompts: whether it was trained with prompts only.
        postprocess: rules by structure name.
        training: facts for people.
        training_values: what the values of each channel were, null for a channel of one value; bundles of before and of
            published weights have none.
        weights_sha256: of model.safetensors; bundles of before have none.
    """

    format: Literal[1]
    segfocal: str
    model: dict[str, Any]
    frame: str
    spacing_mm: Annotated[list[Spacing], Field(min_length=2, max_length=3)] | None
    size: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=2, max_length=2)] | None = None
    window: Annotated[list[Side], Field(min_length=2, max_length=3)]
    channels: Annotated[int, Field(ge=1, le=1024)] = 1
    neighbours: Annotated[int, Field(ge=0, le=128)] = 0
    intensity: IntensityFacts
    structures: Annotated[list[StructureFacts], Field(min_length=1, max_length=4096)]
    link: Literal["sigmoid", "softmax"]
    needs_prompts: bool = False
    postprocess: dict[str, dict[str, Any]] = Field(default_factory=dict)
    training: dict[str, Any]
    training_values: list[ChannelFacts | None] | None = None
    weights_sha256: str | None = None

    @field_validator("model")
    @classmethod
    def _arguments_are_small(cls, model: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(model.get("_target_"), str):
            raise ValueError("a model with its _target_")
        _check_argument(model)
        return model

    @model_validator(mode="after")
    def _fits(self) -> BundleFacts:
        if prod(self.window) * self.channels * (2 * self.neighbours + 1) > LARGEST_INPUT:
            raise ValueError(f"a window with its channels and neighbours of at most {LARGEST_INPUT} numbers")
        if self.training_values is not None and len(self.training_values) != self.channels:
            raise ValueError(f"training_values of {self.channels} channels")
        for what in ("name", "value"):
            if len({getattr(one, what) for one in self.structures}) < len(self.structures):
                raise ValueError(f"structures each with its own {what}")
        return self


def read_facts(path: Path) -> dict[str, Any]:
    """Return what a bundle.json holds, checked; UserError for another format and whatever its schema refuses."""
    facts = door.read_json(path, _LIMITS)
    if isinstance(facts, dict) and facts.get("format") != FORMAT:
        raise UserError(
            expected=f"a bundle of format {FORMAT}",
            found=f"format {door.shown(facts.get('format'))}, written by segfocal {door.shown(facts.get('segfocal'))}",
            where=path,
            do=f"use that version of segfocal (this is {segfocal.__version__}) or train again",
        )
    checked(facts, BundleFacts, where=path, do="use a bundle that segfocal wrote")
    return facts


def _check_argument(value: Any) -> None:
    """Raise ValueError for an argument of a network that no sensible network has, and that could ask for any memory."""
    if isinstance(value, dict | list | str) and len(value) > _LONGEST_ARGUMENT:
        raise ValueError(f"a model whose arguments have at most {_LONGEST_ARGUMENT} entries")
    if isinstance(value, int | float) and abs(value) > _LARGEST_ARGUMENT:
        raise ValueError(f"a model whose arguments are numbers of at most {_LARGEST_ARGUMENT}")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_argument(one)
