"""Whether a run directory may be used: gone on with, found finished, or left alone as another run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

AUTO = "auto"  # of the option resume

# When a run is resumed these may differ, besides those that teach it nothing; train.steps bends its schedules.
_CHANGEABLE = ("steps", "validate_every", "patience", "keep", "postprocess", "tf32", "compile")
_MAY_CHANGE = tuple(f"train.{key}" for key in _CHANGEABLE)
_GROWING = ("train.", "data.", "weights.", "model.weights")  # options that a new version may add
_OTHER_PLACE = "give that run's options again, or another hydra.run.dir (of a sweep, hydra.sweep.dir)"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Where a run is to be and what was typed to ask for it; what it teaches the model is in its plan.

    Args:
        folder: the run directory.
        overwrite: replace a run that lies there.
        automatic: go on with what lies there, if anything (resume=auto).
        overrides: the options of the command line, for comparisons.
        choices: the file chosen of each config group, for comparisons.
        one_of_many: whether it is a job of a multirun, where others go on when it fails.
    """

    folder: Path
    overwrite: bool
    automatic: bool
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str | None] = field(default_factory=dict)
    one_of_many: bool = False


def has_finished(plan: Plan, request: RunRequest) -> bool:
    """Return whether a request to go on finds the result of a run with these options."""
    folder = request.folder
    if not request.automatic or not (folder / "summary.json").is_file() or not (folder / "config.yaml").is_file():
        return False
    return not _changes(plan.config, folder / "config.yaml", request.overrides)


def resumed(plan: Plan, request: RunRequest) -> Plan:
    """Return a plan as it is, or one that goes on with what lies in the folder of an automatic request."""
    from segfocal.engine.checkpoint import candidates

    if not request.automatic:
        return plan
    return replace(plan, resume=request.folder if candidates(request.folder) else None)


def check_place(plan: Plan, request: RunRequest) -> None:
    """Raise UserError where a run would go on with other options, or replace another run unasked."""
    from segfocal.engine.checkpoint import find
    from segfocal.files import check_new

    origin = find(plan.resume).resolve().parents[1] if plan.resume else None
    if origin or request.automatic:
        _check_same_run(plan.config, (origin or request.folder) / "config.yaml", request.overrides)
    _claim(plan, request)
    if origin != request.folder.resolve():
        check_new(request.folder / "metrics.jsonl", overwrite=request.overwrite or request.automatic)


def files_of_plan(plan: Plan) -> list[Path]:
    """Return every file that a run reads: its cases, what lists, names and parts them, and its first weights."""
    from segfocal.data.cases import files_read
    from segfocal.foreign.door import parse_yaml

    config = parse_yaml(plan.config, where="config.yaml") if plan.config else {}
    data = config.get("data") or {}
    weights = plan.weights.path if plan.weights else None
    return files_read(plan.cases.cases, plan.where, data.get("label_names"), data.get("splits"), weights)


def _claim(plan: Plan, request: RunRequest) -> None:
    """Raise UserError where the files of a run would replace one it reads or, unasked, some that are no run's."""
    from segfocal.compare.runs import RUN_FILE
    from segfocal.engine.record import FILES, FOLDERS
    from segfocal.files import check_new, claim, remove_unfinished
    from segfocal.inference import bundle as bundles

    folder, read = request.folder, files_of_plan(plan)
    written, folders = ([folder / name for name in names] for names in (FILES, FOLDERS))
    is_run = (folder / RUN_FILE).is_file()
    claim(written, read, overwrite=request.overwrite or is_run, folders=folders)
    if is_run:  # the folder is held by this process
        places = (folder / "bundle", folder / "checkpoints" / "best")
        remove_unfinished([*written, *(place / name for place in places for name in bundles.FILES)])
    if not is_run and not request.overwrite:
        for place in folders:
            check_new(place, overwrite=False)


def _check_same_run(config: str, saved: Path, overrides: Sequence[str]) -> None:
    """Raise UserError when a resumed run would go on with options that change what it learns."""
    if not saved.is_file():
        return
    changes = _changes(config, saved, overrides)
    changed = {key: values for key, values in changes.items() if key not in _MAY_CHANGE}
    if changed:
        shown = ", ".join(f"{key}={now} (was {before})" for key, (before, now) in list(changed.items())[:5])
        raise UserError(
            expected="the options of the run to resume",
            found=shown,
            where=saved,
            do=_OTHER_PLACE,
        )


def _changes(config: str, saved: Path, overrides: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ from a run's and change what it learns or leaves: before and now.

    An option of train, data or weights that the run did not have yet, and that was not typed, is a newer version's.
    """
    from segfocal.compare.runs import NEUTRAL, OF_THE_SWEEP
    from segfocal.foreign.door import parse_yaml, read_yaml

    old, new = _flat(read_yaml(saved) or {}), _flat(parse_yaml(config, where="the options") or {})
    said = tuple(item.lstrip("+~").split("=", 1)[0] for item in overrides)

    def tells(key: str) -> bool:
        newer = key not in old and key.startswith(_GROWING) and not key.startswith(said)
        return not newer and key not in NEUTRAL and not key.startswith(OF_THE_SWEEP)

    different = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return {key: (old.get(key), new.get(key)) for key in different if tells(key)}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return a config's leaves by dotted path."""
    if not isinstance(config, dict):
        return {prefix: config}
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        leaves |= _flat(value, f"{prefix}.{key!s}" if prefix else str(key))
    return leaves
