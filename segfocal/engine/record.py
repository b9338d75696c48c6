"""What a run leaves behind to be read: metrics row by row, curves, environment, summary."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import segfocal
from segfocal.io import figures
from segfocal.io.files import make_folder, write_json

_PACKAGES = ("torch", "monai", "accelerate", "numpy", "nibabel", "segment-anything", "hydra-core", "safetensors")


class Record:
    """Appends to `metrics.csv` and `metrics.jsonl` of a run folder, one flushed row a call.

    A resumed run cuts off the rows past its checkpoint and continues the same files.
    """

    def __init__(self, folder: Path, *, terms: Sequence[str], structures: Sequence[str], first: int) -> None:
        make_folder(folder)
        self.folder = folder
        self.columns = ["step", "loss", *terms, "lr", "grad_norm", "skipped", "seconds", "val_dice"]
        self.columns += [f"val_dice_{name}" for name in structures]
        self.terms = list(terms)
        self.rows: list[dict[str, Any]] = []
        if first and (folder / "metrics.jsonl").is_file():
            lines = (folder / "metrics.jsonl").read_text().splitlines()
            self.rows = [row for row in map(json.loads, lines) if row["step"] <= first]
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; columns it lacks stay empty."""
        self.rows.append(dict(row))
        with (self.folder / "metrics.csv").open("a", newline="") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(row)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")

    def draw(self) -> None:
        """Draw `loss.png`: the total and its terms by step, and the validation Dice."""
        trained = [row for row in self.rows if "loss" in row]
        scored = [row for row in self.rows if "val_dice" in row]
        steps = [row["step"] for row in trained]
        losses = {name: (steps, [row[name] for row in trained]) for name in ["loss", *self.terms]}
        scores = {}
        if scored:
            scores = {"mean": ([row["step"] for row in scored], [row["val_dice"] for row in scored])}
        if trained:
            figures.curves(self.folder / "loss.png", losses, scores)

    def summarise(self, facts: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        write_json(self.folder / "summary.json", dict(facts))


def environment() -> dict[str, Any]:
    """Return what a reader needs to repeat a run: versions, machine, command."""
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
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
