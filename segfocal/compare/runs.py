"""The runs of an experiment, read back from their folders: the options of each and how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from segfocal.compare.records import read_note, read_rows, read_summary
from segfocal.errors import UserError
from segfocal.files import write_json
from segfocal.foreign import door
from segfocal.foreign.door import read_yaml
from segfocal.typed_words import line

RUN_FILE, _SUMMARY, _ROWS, _CONFIG = "run.json", "summary.json", "metrics.jsonl", "config.yaml"
REFUSED_FILE = "refused.json"
RunStatus = Literal["finished", "stopped early", "failed", "unfinished"]
METRICS = ("dice", "iou", "precision", "recall", "accuracy", "auc", "hd95_mm", "tp", "fp", "fn", "tn")
# Options that change nothing of what a run learns.
NEUTRAL: tuple[str, ...] = ("resume", "debug", "overwrite", "cache", "imports", "experiment", "cluster")
NEUTRAL += ("train.device", "train.workers", "train.tracker", "train.profile")
NEUTRAL += ("train.worker_timeout", "train.process_timeout")
NEUTRAL += ("train.save_minutes", "train.keep_checkpoints", "train.channels_last")
OF_THE_SWEEP = ("sweep.", "cluster.")  # options that say which runs there are, and where
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # in words of YAML 1.1 a text: 1e-3
_COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run.

    Args:
        folder: of the run.
        asked: the options of the command line, as written.
        overrides: the same by option.
        options: every option of the config as text, by dotted name, and the file chosen of each group.
        status: how it ended.
        metrics: by name, means over held-out cases and structures without a prompt, sums for tp, fp, fn and tn; {}
            unless it finished.
        scores: Dice in [0,1] of each (case, structure).
        curve: (step, Dice) of the validations.
        seconds: how long it took; None unless it finished.
        error: why it failed; None unless it did.
    """

    folder: Path
    asked: Sequence[str]
    overrides: Mapping[str, str]
    options: Mapping[str, str]
    status: RunStatus
    metrics: Mapping[str, float]
    scores: Mapping[tuple[str, str], float]
    curve: Sequence[tuple[int, float]]
    seconds: float | None
    error: str | None

    @property
    def seed(self) -> str:
        """The seed it ran with."""
        return self.value("seed") or "0"

    def value(self, option: str) -> str | None:
        """Return the value of an option, given or by default; None where the run has no such option."""
        return self.options.get(option, self.overrides.get(option))

    @property
    def finished(self) -> bool:
        """Whether it has metrics to compare."""
        return self.status in ("finished", "stopped early")

    @property
    def command(self) -> str:
        """The command that repeats it."""
        single = ["hydra.mode=RUN"] if any(option.startswith("experiment=") for option in self.asked) else []
        return line(["segfocal", "train", *self.asked, *single])


def note_start(folder: Path, overrides: Sequence[str], choices: Mapping[str, str | None] | None = None) -> None:
    """Write the options of a run into its folder, and which file was chosen of each group of the config.

    `read_runs` takes a folder with this file for a run.
    """
    (folder / _SUMMARY).unlink(missing_ok=True)  # of an earlier run there
    write_json(folder / RUN_FILE, {"overrides": list(overrides), "choices": dict(choices or {}), "error": None})


def note_failure(folder: Path, overrides: Sequence[str], error: str) -> None:
    """Write into a run's folder why it failed."""
    write_json(folder / RUN_FILE, {"overrides": list(overrides), "error": error})


def note_refusal(folder: Path, overrides: Sequence[str], error: str) -> None:
    """Write into a run's folder why a run of a sweep never began; another run that lies there stays as it is."""
    name = REFUSED_FILE if (folder / RUN_FILE).is_file() else RUN_FILE
    write_json(folder / name, {"overrides": list(overrides), "error": error})


def refused(folder: Path) -> list[str]:
    """Return the messages of runs that never began because their folder holds the result of another run."""
    notes = sorted(folder.glob(f"**/{REFUSED_FILE}"))
    return [f"{note.parent}: {read_note(note).error}" for note in notes]


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
    asked = read_note(folder / RUN_FILE)
    given = dict(item.lstrip("+~").split("=", 1) for item in asked.overrides if "=" in item)
    overrides = {option: _as_in_a_config(value) for option, value in given.items()}
    summary: dict[str, Any] = read_summary(folder / _SUMMARY) if (folder / _SUMMARY).is_file() else {}
    error = asked.error
    status: RunStatus = "failed" if error else summary.get("status", "unfinished")
    scores = summary.get("scores", []) if not error else []
    prompt = "none" if any(score["prompt"] == "none" for score in scores) else "box"  # of a model that needs prompts
    scores = [score for score in scores if score["prompt"] == prompt]
    return RunResult(
        folder=folder,
        asked=asked.overrides,
        overrides=overrides,
        options=_options(folder / _CONFIG, asked.choices),
        status=status,
        metrics=_metrics(scores),
        scores={(score["case"], score["structure"]): score["dice"] for score in scores},
        curve=_curve(folder / _ROWS),
        seconds=summary.get("seconds"),
        error=error,
    )


def _options(path: Path, choices: Mapping[str, str | None]) -> dict[str, str]:
    """Return every option of a run's config by dotted path, and the choices, as text."""
    config = read_yaml(path) if path.is_file() else None
    chosen = {name: choice for name, choice in choices.items() if choice and not name.startswith("hydra")}
    return {key: str(value) for key, value in {**chosen, **_leaves(config or {})}.items()}


def _as_in_a_config(value: str) -> str:
    """Return the value of an option as it was typed in the words in which `_options` has it: [32,32] is [32, 32]."""
    spaced = re.sub(r":(?=[^\s/])", ": ", value) if value.startswith(("{", "[")) else value
    try:
        read = door.parse_yaml(spaced, where="an option")
    except UserError:  # text that is no YAML
        return value
    if isinstance(read, str):
        return str(float(read)) if _NUMBER.fullmatch(read) else read
    return str(read)


def _leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        leaves |= _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def _metrics(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if not scores:
        return {}
    means = {name: fmean(score[name] for score in scores) for name in METRICS if scores[0].get(name) is not None}
    return means | {name: sum(score[name] for score in scores) for name in _COUNTS}


def _curve(path: Path) -> list[tuple[int, float]]:
    rows = read_rows(path) if path.is_file() else []
    return [(row["step"], row["val_dice"]) for row in rows if "val_dice" in row]
