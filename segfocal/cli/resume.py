"""Whether a run directory may be used: gone on with, found finished, or left alone as another run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

# When a run is resumed these may differ, besides those that teach it nothing; train.steps bends its schedules.
_CHANGEABLE = ("steps", "validate_every", "patience", "keep", "postprocess", "tf32", "compile")
_MAY_CHANGE = tuple(f"train.{key}" for key in _CHANGEABLE)
_GROWING = ("train.", "data.", "weights.", "model.weights")  # options that a new version may add
_OTHER_PLACE = "give that run's options again, or another hydra.run.dir (of a sweep, hydra.sweep.dir)"


def check_place(config: DictConfig, plan: Plan, folder: Path, *, automatic: bool, overrides: Sequence[str]) -> None:
    """Raise UserError where a run would go on with other options, or replace another run unasked."""
    from segfocal.engine.checkpoint import find
    from segfocal.files import check_new

    origin = find(plan.resume).resolve().parents[1] if plan.resume else None
    if origin or automatic:
        _check_same_run(config, (origin or folder) / "config.yaml", overrides)
    if origin != folder.resolve():
        check_new(folder / "metrics.jsonl", overwrite=config.overwrite or automatic)


def has_finished(config: DictConfig, folder: Path, overrides: Sequence[str]) -> bool:
    """Return whether `folder` holds the result of a run with these options."""
    if not (folder / "summary.json").is_file() or not (folder / "config.yaml").is_file():
        return False
    return not _changes(config, folder / "config.yaml", overrides)


def _check_same_run(config: DictConfig, saved: Path, overrides: Sequence[str]) -> None:
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


def _changes(config: DictConfig, saved: Path, overrides: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ from a run's and change what it learns or leaves: before and now.

    An option of train, data or weights that the run did not have yet, and that nobody asks for, is a newer version's.
    """
    from segfocal.compare.runs import NEUTRAL

    old, new = _flat(OmegaConf.load(saved)), _flat(OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)))
    said = tuple(item.lstrip("+~").split("=", 1)[0] for item in overrides)

    def tells(key: str) -> bool:
        newer = key not in old and key.startswith(_GROWING) and not key.startswith(said)
        return not newer and key not in NEUTRAL and not key.startswith("sweep.")

    different = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return {key: (old.get(key), new.get(key)) for key in different if tells(key)}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return a config's leaves by dotted path."""
    plain = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    if not isinstance(plain, dict):
        return {prefix: plain}
    leaves: dict[str, Any] = {}
    for key, value in plain.items():
        leaves |= _flat(value, f"{prefix}.{key!s}" if prefix else str(key))
    return leaves
