"""An ensemble: one folder of several bundles, such as those of the folds, whose logits are averaged.

`ensemble.json` lists the members, folders beside it; each is a bundle by itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import segfocal
from segfocal.errors import UserError
from segfocal.files import read_json, remove_unfinished, write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import ENSEMBLE_LIST, Bundle
from segfocal.inference.model_card import CARD, write_card
from segfocal.intensity_statistics import Statistics, joined

_FORMAT = 1
_ASIDE = ".segfocal_old_"  # before the names of old members, while new ones are written


def save(members: Sequence[Bundle], folder: Path, *, facts: Mapping[str, Any]) -> None:
    """Write bundles into folders member_0, member_1, … of `folder`, and their list with `facts` for people last.

    An ensemble that lies there is whole until the new list takes the place of its own: a kill at any time leaves the
    old one or the new one.
    """
    names = [f"member_{number}" for number in range(len(members))]
    _set_aside(names, folder)
    for name, member in zip(names, members, strict=True):
        bundles.save(member, folder / name)
    write_json(folder / ENSEMBLE_LIST, {"format": _FORMAT, "segfocal": segfocal.__version__, "members": names, **facts})
    write_card(folder, members=names)
    for old in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(old, ignore_errors=True)
    remove_unfinished([folder / ENSEMBLE_LIST, folder / CARD])


def _set_aside(names: Sequence[str], folder: Path) -> None:
    """Let the list of an ensemble that lies there name copies of those members whose folders are to be written."""
    try:
        listed = [member.name for member in members_of(folder)]
        old = read_json(folder / ENSEMBLE_LIST)
    except UserError:  # none, or a damaged one
        return
    replaced = [name for name in listed if name in names and (folder / name).is_dir()]
    for name in replaced:
        shutil.rmtree(folder / f"{_ASIDE}{name}", ignore_errors=True)
        shutil.copytree(folder / name, folder / f"{_ASIDE}{name}", copy_function=_linked)
    if replaced:
        kept = [f"{_ASIDE}{name}" if name in replaced else name for name in listed]
        write_json(folder / ENSEMBLE_LIST, {**old, "members": kept})


def _linked(source: str, copy: str) -> None:
    """Give a file a second name, which keeps its bytes when the first is replaced; a copy where no links are known."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)


def training_values(members: Sequence[Bundle]) -> Statistics | None:
    """Return what the values of all members' training scans were; None where that of one is not known."""
    return joined([member.training_values for member in members])


def members_of(folder: Path, *, most: int | None = None) -> tuple[Path, ...]:
    """Return the folders of the members of an ensemble, at most so many; of anything else the place itself.

    Raises:
        UserError: a damaged list, one that leads out of the folder, a number below 1.
    """
    if most is not None and (type(most) is not int or most < 1):
        raise UserError(expected="members ≥ 1 or null", found=f"members={most}", do="give a whole number")
    folder = folder.parent if folder.name == ENSEMBLE_LIST else folder
    if not (folder / ENSEMBLE_LIST).is_file():
        return (folder,)
    facts = read_json(folder / ENSEMBLE_LIST)
    names = facts.get("members") if isinstance(facts, dict) and facts.get("format") == _FORMAT else None
    if not isinstance(names, list) or not names or not all(_is_plain(name) for name in names):
        raise UserError(
            expected=f"an ensemble of format {_FORMAT}: names of folders beside {ENSEMBLE_LIST} under “members”",
            found=str(facts)[:60],
            where=folder / ENSEMBLE_LIST,
            do="copy the bundle again",
        )
    return tuple(folder / name for name in names)[:most]


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
