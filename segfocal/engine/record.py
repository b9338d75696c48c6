"""What a run leaves behind to be read: metrics row by row, curves, environment, summary."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import segfocal
from segfocal.errors import Fault, UserError, warn
from segfocal.files import make_folder, write_json, write_text, written_beside
from segfocal.foreign.door import parse_json, shown
from segfocal.foreign.json_lines import json_lines
from segfocal.losses import WeightedSum
from segfocal.models import ParameterGroup, parameter_table
from segfocal.report import plots

# What a run may leave in its folder, besides the logs of a tracker.
FILES: tuple[str, ...] = ("config.yaml", "environment.json", "run.json", "refused.json", "weights.json")
FILES += ("parameters.csv", "metrics.csv", "metrics.jsonl", "loss.png", "loss_anatomy.png", "summary.json")
FOLDERS = ("overlays", "checkpoints", "bundle")
_PACKAGES = ("torch", "monai", "accelerate", "numpy", "nibabel", "segment-anything", "hydra-core", "safetensors")


class Record:
    """Appends to `metrics.csv` and `metrics.jsonl` of a run folder, one flushed row a call.

    A resumed run cuts off the rows past its checkpoint and continues the same files.

    Args:
        folder: the run directory.
        criterion: names the columns of the losses.
        structures: names the columns of the validation Dice.
        first: steps made before; 0 begins the files anew.
    """

    def __init__(self, folder: Path, *, criterion: WeightedSum, structures: Sequence[str], first: int) -> None:
        make_folder(folder)
        self.folder = folder
        self.terms, self.anatomy, self.followed = list(criterion.weights), criterion.anatomy_names, criterion.followed
        self.columns = ["step", "loss", *self.terms, *self.anatomy, *self.followed]
        self.columns += ["lr", "grad_norm", "skipped", "seconds", "samples_per_second", "waiting_share", "gpu_gib"]
        self.columns += ["val_dice"]
        self.columns += [f"val_dice_{name}" for name in structures]
        self.rows: list[dict[str, Any]] = []
        self.lost = 0
        if first and (folder / "metrics.jsonl").is_file():
            self.rows = [row for row in _rows(folder / "metrics.jsonl") if row["step"] <= first]
        with written_beside(folder / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in self.rows))

    @property
    def seconds(self) -> float:
        """How long the run has trained so far."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; columns it lacks stay empty."""
        self.rows.append(dict(row))
        try:
            self._append(row)
        except OSError as error:  # a full disk costs rows of the record, not the run
            if not self.lost:
                warn(f"rows of the record are lost: {error}; the run goes on", stacklevel=2)
            self.lost += 1

    def _append(self, row: Mapping[str, Any]) -> None:
        with (self.folder / "metrics.csv").open("a", newline="") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(row)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")

    def draw(self) -> None:
        """Draw `loss.png` (total, terms, validation Dice) and `loss_anatomy.png` (where the loss came from)."""
        trained = [row for row in self.rows if "loss" in row]
        scored = [row for row in self.rows if "val_dice" in row]
        steps = [row["step"] for row in trained]
        losses = {name: (steps, [row[name] for row in trained]) for name in ["loss", *self.terms]}
        scores = {}
        if scored:
            scores = {"mean": ([row["step"] for row in scored], [row["val_dice"] for row in scored])}
        if trained:
            plots.draw_training(self.folder / "loss.png", losses, scores)
        if trained and self.anatomy:
            parts = {name: (steps, [row[name] for row in trained]) for name in self.anatomy}
            followed = {name: (steps, [row[name] for row in trained]) for name in self.followed}
            terms = {name: losses[name] for name in self.terms}
            plots.draw_loss_anatomy(self.folder / "loss_anatomy.png", terms, parts, followed)

    def summarise(self, facts: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        write_json(self.folder / "summary.json", dict(facts))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log up to a line that a kill cut short."""
    for line, where in json_lines(path):
        try:
            row = parse_json(line, where=where)
        except UserError as error:
            if error.fault is Fault.DAMAGED:
                return
            raise
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            expected = "rows of a record, each with its step"
            raise UserError(expected=expected, found=shown(row), where=where, do="choose another run directory")
        yield row


def environment(precision: str) -> dict[str, Any]:
    """Return what a reader needs to repeat a run: versions, machine, command, and the precision of the network."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "segfocal": segfocal.__version__,
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def note_parameters(folder: Path, model: nn.Module) -> None:
    """Write `parameters.csv`, how much of each part of a model is trained and frozen; print it where anything is."""
    rows = parameter_table(model)
    with written_beside(folder / "parameters.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ParameterGroup._fields)
        writer.writerows(rows)
    if rows[-1].frozen:
        width = max(len(row.group) for row in rows)
        for row in rows:
            print(f"{row.group:{width}} {row.trained:>13,} trained {row.frozen:>13,} frozen")
