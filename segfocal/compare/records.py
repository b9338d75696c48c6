"""What a run leaves to be compared: run.json, summary.json and metrics.jsonl, each by its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from segfocal.errors import Fault, UserError
from segfocal.foreign import door
from segfocal.foreign.json_lines import json_lines
from segfocal.foreign.schema import Schema, checked

_DO = "leave that run out, or mend the file"
Measured = Annotated[float, Field(allow_inf_nan=True)]  # a loss may be NaN, a distance infinite


class RunNote(Schema):
    """run.json: what was typed, which file was chosen of each group, and why the run failed."""

    overrides: list[str]
    choices: dict[str, str | None] = Field(default_factory=dict)
    error: str | None = None


class ScoreRow(Schema):
    """A score of summary.json, of one case and structure.

    Args:
        case: its name.
        structure: its name.
        prompt: what the model was given.
        dice: overlap with the reference.
        tp: voxels.
        fp: voxels.
        fn: voxels.
        tn: voxels.
        iou: as all below, left out or None where it was not measured.
        precision: likewise.
        recall: likewise.
        accuracy: likewise.
        auc: likewise.
        hd95_mm: likewise.
    """

    case: str
    structure: str
    prompt: str
    dice: Measured
    tp: Measured
    fp: Measured
    fn: Measured
    tn: Measured
    iou: Measured | None = None
    precision: Measured | None = None
    recall: Measured | None = None
    accuracy: Measured | None = None
    auc: Measured | None = None
    hd95_mm: Measured | None = None


class RunSummary(Schema):
    """summary.json, as far as a comparison reads it."""

    status: Literal["finished", "stopped early"]
    scores: list[ScoreRow] = Field(default_factory=list)
    seconds: Measured | None = None


class CurveRow(Schema):
    """A line of metrics.jsonl; only those of validations have `val_dice`."""

    model_config = ConfigDict(extra="allow")

    step: int
    val_dice: Measured = 0.0


def read_note(path: Path) -> RunNote:
    """Return a run.json or refused.json; UserError for one of another form."""
    return checked(door.read_json(path), RunNote, where=path, do=_DO)


def read_summary(path: Path) -> dict[str, Any]:
    """Return a summary.json; UserError for one of another form."""
    summary = door.read_json(path)
    checked(summary, RunSummary, where=path, do=_DO)
    return summary


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl up to a line that a kill cut short; UserError for lines of another form."""
    rows = []
    for line, where in json_lines(path):
        try:
            row = door.parse_json(line, where=where)
        except UserError as error:
            if error.fault is Fault.DAMAGED:
                break
            raise
        checked(row, CurveRow, where=where, do=_DO)
        rows.append(row)
    return rows
