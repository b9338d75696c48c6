"""Training on what was corrected: a process beside the server, one at a time, and how far it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from segfocal.compare.records import read_rows
from segfocal.errors import UserError
from segfocal.files import make_folder
from segfocal.foreign import door
from segfocal.plain_text import visible
from segfocal.serve.options import ServeOptions
from segfocal.serve.refusal import Refused
from segfocal.serve.training_folder import train_words
from segfocal.structure import Structure
from segfocal.typed_words import line, option

_RUN = re.compile(r"run_(\d+)")
_PATIENCE = 60  # seconds for a run that was told to end, which saves a checkpoint


class TrainingProcess:
    """Training on what was corrected, by the command that the page shows, in a folder of its own beside the sessions.

    Args:
        options: of the server.
        structures: of its model.
    """

    def __init__(self, options: ServeOptions, structures: tuple[Structure, ...]) -> None:
        self.options, self.structures = options, structures
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Begin to train; Refused where that was not allowed, goes on already, or has nothing to learn from."""
        if not self.options.train:
            raise Refused(403, expected="a server that trains", found="one that was not told to", do="add train=true")
        if self.is_running:
            raise Refused(409, expected="no training at work", found="one that is", do="wait for its end, or stop it")
        if not any((self.options.output / "labels").glob("*.nii.gz")):
            raise Refused(409, expected="a saved mask to train on", found="none yet", do="save one first")
        home = self.options.sessions / "training"
        make_folder(home)
        before = [int(match[1]) for path in home.iterdir() if (match := _RUN.fullmatch(path.name))]
        self._folder = home / f"run_{max(before, default=0) + 1:03d}"
        words = train_words(self.options.output, self.structures, self.options.train_options)
        command = [sys.executable, "-m", "segfocal.cli.main", *words[1:], option("hydra.run.dir", self._folder)]
        with self._said().open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    @property
    def is_running(self) -> bool:
        """Whether a training is at work."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Tell the training to end, if there is one; it leaves a checkpoint."""
        if self._process and self.is_running:
            self._process.terminate()

    def close(self) -> None:
        """End the training with the server."""
        self.stop()
        if self._process:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def told(self) -> dict[str, Any]:
        """Return how far the last training is: its state, steps of all, and what to do with it or why it failed."""
        if self._process is None or self._folder is None:
            return {"state": "none", "allowed": self.options.train}
        status = self._process.poll()
        told = {
            "state": "running" if status is None else "done" if status == 0 else "failed",
            "allowed": self.options.train,
            "folder": str(self._folder),
            **_progress(self._folder),
        }
        if status == 0:
            told["serve_command"] = line(["segfocal", "serve", option("bundle", self._folder / "bundle")])
        elif status is not None:
            told["why"] = self._last_line()
        return told

    def _said(self) -> Path:
        """Return the file of what the process says."""
        assert self._folder is not None
        return self._folder.with_suffix(".txt")

    def _last_line(self) -> str:
        lines = self._said().read_text(errors="replace").split("\n")
        return next((visible(line.strip()) for line in reversed(lines) if line.strip()), "it ended without a word")


def _progress(folder: Path) -> dict[str, Any]:
    """Return the steps that were made, of how many, and the last loss and validation Dice; {} before the first."""
    try:
        planned = door.read_yaml(folder / "config.yaml")["train"]
        rows = read_rows(folder / "metrics.jsonl")
    except (UserError, KeyError, TypeError):  # it has not begun
        return {}
    told: dict[str, Any] = {name: planned[name] for name in ("steps", "minutes") if planned.get(name) is not None}
    for row in rows:
        told |= {name: row[name] for name in ("step", "loss", "val_dice") if row.get(name) is not None}
    return told
