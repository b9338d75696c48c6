"""Checkpoints: the whole state of a run, one folder a step, each complete before it gets its name.

A checkpoint is written as `.step_000100.writing`, flushed, listed with a SHA-256 of every file in `checksums.json`, and
renamed. A kill at any moment therefore leaves the earlier ones as they were. Resuming reads the checksums: a checkpoint
that a disk has damaged since is passed over for the one before. Saving reads none of the earlier ones again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Annotated

from accelerate import Accelerator
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError

from segfocal.engine.across_processes import in_any_process
from segfocal.errors import UserError, warn
from segfocal.files import give_usual_mode, read_json, sha256_of, write_json
from segfocal.foreign.schema import checked

_SUMS = "checksums.json"
_LISTED = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[^/\\\x00]+$")], str])  # names, which lead nowhere else
_WRITING = ".writing"
_NAME = re.compile(r"step_(\d+)")
_DISK = (OSError, RuntimeError, SafetensorError, UserError)  # torch and safetensors wrap a full disk


def save(accelerator: Accelerator, folder: Path, *, step: int, keep: int) -> bool:
    """Write the state after `step` into `folder`/step_NNNNNN and forget all but the last `keep`; return if written.

    Every process calls it. A failure, such as a full disk, is a warning: the run and the checkpoints so far are worth
    more than this one.

    Args:
        accelerator: holds what is saved.
        folder: of all checkpoints of the run.
        step: optimiser steps made, ≥ 0.
        keep: how many checkpoints stay, this one included, ≥ 1.
    """
    name = f"step_{step:06d}"
    temporary = folder / f".{name}{_WRITING}"
    main, problem = accelerator.is_main_process, ""
    if main:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(temporary), safe_serialization=True)
    except _DISK as error:
        problem = str(error)
    written = not in_any_process(accelerator, bool(problem))
    try:
        if main and written:
            _seal(temporary, folder / name)
            _forget(folder, keep, newest=step)
    except _DISK as error:
        problem, written = str(error), False
    if problem:
        warn(f"no checkpoint of step {step}: {problem}; the run goes on, the ones before stay", stacklevel=2)
    if main:
        shutil.rmtree(temporary, ignore_errors=True)
    return not in_any_process(accelerator, not written)


def restore(accelerator: Accelerator, place: Path) -> Path:
    """Bring a run back to the newest whole checkpoint at `place`; return its folder.

    Resume from your own checkpoints only: the optimiser's state is read by torch's unpickler.

    Raises:
        UserError: no whole checkpoint there, or one of another model.
    """
    folder = find(place)
    try:
        accelerator.load_state(str(folder))
    except (RuntimeError, ValueError, KeyError, OSError, EOFError, SafetensorError) as error:
        raise UserError(
            expected="a checkpoint of the same model and optimiser",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            where=folder,
            do="resume with the options of that run",
        ) from error
    return folder


def take_best_along(checkpoint: Path, folder: Path) -> None:
    """Copy the best bundle so far of a checkpoint's run into the run directory `folder`, if that is another one."""
    best, here = checkpoint.parent / "best", folder / "checkpoints" / "best"
    if best.is_dir() and best.resolve() != here.resolve():
        shutil.copytree(best, here, dirs_exist_ok=True)


def find(place: str | Path) -> Path:
    """Return the newest whole checkpoint at `place`: itself, or of a run directory; a damaged one is warned about.

    Raises:
        UserError: none there, or all damaged.
    """
    place = Path(place)
    found = candidates(place)
    for folder in found:
        problem = damage(folder)
        if problem is None:
            return folder
        warn(f"passing over a damaged checkpoint, {folder}: {problem}", stacklevel=2)
    raise UserError(
        expected="a checkpoint: a run directory, or a step_… folder in its checkpoints",
        found="damaged ones only" if found else "a folder without one" if place.is_dir() else "no such folder",
        where=place,
        do="set resume to the directory of a run that got as far as its first checkpoint",
    )


def candidates(place: Path) -> list[Path]:
    """Return the checkpoints at `place`, newest first: itself, or those of a run directory."""
    if (place / _SUMS).is_file() or (place.parent.name == "checkpoints" and _NAME.fullmatch(place.name)):
        return [place] if place.is_dir() else []
    return _inside(place / "checkpoints")


def clear(folder: Path) -> None:
    """Remove all checkpoints of a run directory that is about to begin anew."""
    for old in _inside(folder / "checkpoints"):
        _remove(old)
    shutil.rmtree(folder / "checkpoints" / "best", ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run left half written or half removed in a run directory that nobody else writes to now."""
    for left in (folder / "checkpoints").glob(f".step_*{_WRITING}"):
        shutil.rmtree(left, ignore_errors=True)


def _inside(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest first."""
    named = [path for path in folder.glob("step_*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(named, key=_step, reverse=True)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, None when they are as they were written."""
    try:
        sums = _sums(folder)
        for name, expected in sums.items():
            if sha256_of(folder / name) != expected:
                return f"{name} has changed since it was written"
    except (OSError, UserError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a checkpoint, by name; UserError for a damaged list."""
    return checked(read_json(folder / _SUMS), _LISTED, where=folder / _SUMS)


def _seal(temporary: Path, folder: Path) -> None:
    """Flush a written checkpoint to disk, add its checksums, and give it its name."""
    for file in temporary.iterdir():
        give_usual_mode(file)
    write_json(temporary / _SUMS, {file.name: sha256_of(file) for file in sorted(temporary.iterdir())})
    for file in temporary.iterdir():
        _flush(file)
    _flush(temporary)
    if folder.exists():  # of a run that went back to an earlier step
        _remove(folder)
    temporary.rename(folder)
    _flush(folder.parent)


def _forget(folder: Path, keep: int, *, newest: int) -> None:
    """Keep the last `keep` up to `newest`; later ones are of a run that went back, and damaged ones do not count."""
    saved = _inside(folder)
    whole = [path for path in saved if _step(path) <= newest and _is_whole(path)][:keep]
    for old in saved:
        if old not in whole:
            _remove(old)


def _is_whole(folder: Path) -> bool:
    """Return whether a checkpoint is as it was written; its files are read only if some changed after their list."""
    try:
        sums = folder / _SUMS
        listed, sealed = _sums(folder), sums.stat().st_mtime_ns
        if all((folder / name).stat().st_mtime_ns <= sealed for name in listed):
            return True
    except (OSError, UserError):
        return False
    return damage(folder) is None  # a copy has new times, and may be whole


def _remove(folder: Path) -> None:
    """Take a checkpoint's name away before its files, so that a kill leaves no half of one that looks whole."""
    nameless = folder.with_name(f".{folder.name}.removed{_WRITING}")
    folder.rename(nameless)
    shutil.rmtree(nameless)


def _flush(path: Path) -> None:
    """Make the system write a file or a folder's entries to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
