"""The runs of an experiment, read back from their folders: what each was asked and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from segfocal.errors import UserError
from segfocal.io.files import read_json, write_json

RUN_FILE, _SUMMARY, _ROWS = "run.json", "summary.json", "metrics.jsonl"
FIGURES = ("dice", "iou", "precision", "recall", "accuracy", "auc", "hd95_mm", "tp", "fp", "fn", "tn")
# Options that teach a run nothing.
NEUTRAL: tuple[str, ...] = ("resume", "debug", "overwrite", "cache", "imports", "experiment")
NEUTRAL += ("train.device", "train.workers", "train.tracker", "train.profile")
NEUTRAL += ("train.save_minutes", "train.keep_checkpoints")
_COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run.

    asked: what the command line said. overrides: the same by option. status: "finished", "stopped early", "failed" or
    "unfinished". figures: means over held-out cases and structures without a prompt (sums for tp, fp, fn and tn), {}
    unless it finished. scores: Dice of each (case, structure). curve: (step, Dice) of the validations. error: why it
    failed.
    """

    folder: Path
    asked: Sequence[str]
    overrides: Mapping[str, str]
    status: str
    figures: Mapping[str, float]
    scores: Mapping[tuple[str, str], float]
    curve: Sequence[tuple[int, float]]
    seconds: float | None
    error: str | None

    @property
    def seed(self) -> str:
        """The seed it was asked for, "0" if none."""
        return self.overrides.get("seed", "0")

    @property
    def finished(self) -> bool:
        """Whether it has figures to compare."""
        return self.status in ("finished", "stopped early")

    @property
    def command(self) -> str:
        """The command that repeats it."""
        single = ["hydra.mode=RUN"] if any(option.startswith("experiment=") for option in self.asked) else []
        return " ".join(["python scripts/train.py", *[_quoted(option) for option in [*self.asked, *single]]])


def note_start(folder: Path, overrides: Sequence[str]) -> None:
    """Leave in a run's folder what it was asked; `read_runs` takes a folder with this file for a run."""
    (folder / _SUMMARY).unlink(missing_ok=True)  # of an earlier run there
    write_json(folder / RUN_FILE, {"overrides": list(overrides), "error": None})


def note_failure(folder: Path, overrides: Sequence[str], error: str) -> None:
    """Leave in a run's folder why it failed; a folder with an earlier run's result stays as it is."""
    if (folder / _SUMMARY).is_file():
        return
    write_json(folder / RUN_FILE, {"overrides": list(overrides), "error": error})


def read_runs(places: Sequence[Path]) -> list[RunResult]:
    """Return the runs at `places`: run directories, or folders of them, in order of their names.

    Raises:
        UserError: a place without a run.
    """
    results = []
    for place in places:
        found = (
            [place] if (place / RUN_FILE).is_file() else sorted(path.parent for path in place.glob(f"**/{RUN_FILE}"))
        )
        if not found:
            raise UserError(
                expected=f"a run directory, or a folder of them (each has a {RUN_FILE})",
                found="none" if place.is_dir() else "no such folder",
                where=place,
                do="name the folder of a run or of a multirun",
            )
        results += [read_run(folder) for folder in found]
    return results


def read_run(folder: Path) -> RunResult:
    """Return one run."""
    asked = read_json(folder / RUN_FILE)
    overrides = dict(item.lstrip("+~").split("=", 1) for item in asked["overrides"] if "=" in item)
    summary: dict[str, Any] = read_json(folder / _SUMMARY) if (folder / _SUMMARY).is_file() else {}
    error = asked.get("error")
    status = "failed" if error else summary.get("status", "unfinished")
    scores = [score for score in summary.get("scores", []) if score["prompt"] == "none"] if not error else []
    return RunResult(
        folder=folder,
        asked=asked["overrides"],
        overrides=overrides,
        status=status,
        figures=_figures(scores),
        scores={(score["case"], score["structure"]): score["dice"] for score in scores},
        curve=_curve(folder / _ROWS),
        seconds=summary.get("seconds"),
        error=error,
    )


def _figures(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if not scores:
        return {}
    means = {name: fmean(score[name] for score in scores) for name in FIGURES if scores[0].get(name) is not None}
    return means | {name: sum(score[name] for score in scores) for name in _COUNTS}


def _curve(path: Path) -> list[tuple[int, float]]:
    if not path.is_file():
        return []
    curve = []
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if "val_dice" in row:
            curve.append((row["step"], row["val_dice"]))
    return curve


def _quoted(argument: str) -> str:
    return f"'{argument}'" if any(letter in argument for letter in " {}[]()$&;|*?<>") else argument
