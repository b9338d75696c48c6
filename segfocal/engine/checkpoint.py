"""Checkpoints: the whole state of a run in one folder, written beside and renamed, so that one is always readable."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from accelerate import Accelerator

from segfocal.errors import UserError
from segfocal.io.files import make_folder


def save(accelerator: Accelerator, folder: Path) -> None:
    """Replace the checkpoint `folder` by the current state; a kill at any moment leaves the old or the new one.

    The old folder steps aside as `NAME.old` between two renames; `find` looks there too.
    """
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    aside = folder.with_name(f"{folder.name}.old")
    accelerator.save_state(str(temporary), safe_serialization=True)
    if not accelerator.is_main_process:
        return
    shutil.rmtree(aside, ignore_errors=True)
    if folder.is_dir():
        folder.rename(aside)
    temporary.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def find(place: str | Path) -> Path:
    """Return the checkpoint folder named by `place`: itself, or the last one of a run directory; UserError if none."""
    place = Path(place)
    candidates = [place, place / "checkpoints" / "last", place / "checkpoints" / "last.old"]
    for folder in candidates:
        if (folder / "model.safetensors").is_file():
            return folder
    raise UserError(
        expected="a checkpoint: a run directory or its checkpoints/last",
        found="a folder without one" if place.is_dir() else "no such folder",
        where=place,
        do="set resume to the directory of a run that got as far as its first validation",
    )
