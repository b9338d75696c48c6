"""Checkpoints: the whole state of a run in one folder, written beside and renamed, so that one is always readable."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError

from segfocal.errors import UserError
from segfocal.io.files import make_folder


def save(accelerator: Accelerator, folder: Path) -> None:
    """Replace the checkpoint `folder` by the current state; a kill at any moment leaves the old or the new one.

    The old folder steps aside as `NAME.old` between two renames; `find` looks there too. What earlier kills left
    half-written is removed.
    """
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    aside = folder.with_name(f"{folder.name}.old")
    accelerator.save_state(str(temporary), safe_serialization=True)
    if not accelerator.is_main_process:
        return
    for file in temporary.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    if folder.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    temporary.rename(folder)
    for leftover in (aside, *folder.parent.glob(f".{folder.name}-*")):
        shutil.rmtree(leftover, ignore_errors=True)


def restore(accelerator: Accelerator, place: Path) -> None:
    """Bring a run back to the checkpoint at `place`.

    Resume from your own checkpoints only: the optimiser's state is read by torch's unpickler.

    Raises:
        UserError: no checkpoint there, one that is damaged, or one of another model.
    """
    folder = find(place)
    try:
        accelerator.load_state(str(folder))
    except (RuntimeError, ValueError, KeyError, OSError, EOFError, SafetensorError) as error:
        raise UserError(
            expected="a whole checkpoint of the same model and optimiser",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            where=folder,
            do="resume with the options of that run, or from an earlier checkpoint",
        ) from error


def take_best_along(place: Path, folder: Path) -> None:
    """Copy the best bundle so far of the run at `place` into the run directory `folder`, if that is another one."""
    best, here = find(place).parent / "best", folder / "checkpoints" / "best"
    if best.is_dir() and best.resolve() != here.resolve():
        shutil.copytree(best, here, dirs_exist_ok=True)


def find(place: str | Path) -> Path:
    """Return the checkpoint folder named by `place`: itself, or the last one of a run directory; UserError if none."""
    place = Path(place)
    candidates = [place, place / "checkpoints" / "last", place / "checkpoints" / "last.old"]
    for folder in candidates:
        if (folder / "optimizer.bin").is_file():
            return folder
    raise UserError(
        expected="a checkpoint: a run directory or its checkpoints/last",
        found="a folder without one" if place.is_dir() else "no such folder",
        where=place,
        do="set resume to the directory of a run that got as far as its first validation",
    )
