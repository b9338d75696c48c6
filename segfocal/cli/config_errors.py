"""What is said of an option that cannot be: the key it is about, and the nearest one that there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segfocal.errors import UserError
from segfocal.plain_text import nearest

_UNKNOWN = re.compile(r"Could not override '([^']+)'")
_MISSING = re.compile(r"Missing mandatory value: (\S+)")
_CHOICE = re.compile(r"Could not find '([^']+)'")


def config_error(error: BaseException, command: str, conf: Path) -> UserError:
    """Return what Hydra says of options as an error of the user's; the arguments are those of `config_message`."""
    said = _said(error)
    near = _meant(said, command, conf)
    return UserError(
        expected=f"options that segfocal {command.replace('_', '-')} has",
        found=said,
        do=f"write {near}" if near else "change that option",
    )


def config_message(error: BaseException, command: str | None, conf: Path) -> str:
    """Return the innermost words of a config error, the key it is about, and where to look.

    Args:
        error: of Hydra or OmegaConf.
        command: whose options are searched for the nearest to one that there is not; None searches none.
        conf: the folder of YAML files.
    """
    said = _said(error)
    if isinstance(error, OverrideParseException):
        return said
    near = None if command is None else _meant(said, command, conf)
    return f"{said}.{f' Did you mean {near}?' if near else ''} --help lists every key and choice."


def check_packages(config: DictConfig) -> None:
    """Raise UserError for a file of overrides that Hydra has put aside, in a key of its own, where nobody reads it."""
    for group in ("experiment", "imbalance"):
        if OmegaConf.is_dict(config.get(group)):
            raise UserError(
                expected=f'"# @package _global_" as the first line of the file of {group}=',
                found="another first line, with which none of its options would count",
                do="add that line",
            )


def _said(error: BaseException) -> str:
    """Return what a config error says, on one line without its end."""
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read the option {error.override}: put what holds spaces, commas, brackets or = in two pairs of "
            "quotes, as \"input='my scan.nii.gz'\""
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line.strip() for line in f"{error} {cause or ''}".splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=")))
    key = getattr(cause or error, "full_key", None)
    if missing := _MISSING.search(text):  # of an option that takes another's value the key is its own
        name = key if key and key.rpartition(".")[2] == missing[1] else missing[1]
        return f"{name} has no default: write {name}=VALUE"
    return text.rstrip(".") + (f" ({key})" if key and key not in text else "")


def _meant(said: str, command: str, conf: Path) -> str | None:
    """Return the option that was meant by one that a command has not, key or GROUP=CHOICE; None where none is near."""
    if unknown := _UNKNOWN.search(said):
        near = nearest_key(unknown[1], _keys(command, conf))
        return None if near == unknown[1] else near  # the default model has it, the one chosen has not
    if choice := _CHOICE.search(said):
        group, _, name = choice[1].rpartition("/")
        found = nearest(name, (path.stem for path in (conf / group).glob("*.yaml")))
        return f"{group}={found}" if found else None
    return None


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """Return the known dotted key nearest to one that is not known: of the same last name, or spelt alike."""
    listed = list(known)
    same = [one for one in listed if one.rpartition(".")[2] == key.rpartition(".")[2]]
    return same[0] if len(same) == 1 else nearest(key, same or listed)


def _keys(command: str, conf: Path) -> Iterator[str]:
    """Yield the dotted names of a command's options, with the choices that it has by default."""
    GlobalHydra.instance().clear()  # of the command that has failed
    with initialize_config_dir(version_base="1.3", config_dir=str(conf)):
        config = compose(command)
    yield from _dotted(OmegaConf.to_container(config, resolve=False))


def _dotted(plain: Any, prefix: str = "") -> Iterator[str]:
    for key, value in plain.items() if isinstance(plain, Mapping) else ():
        yield f"{prefix}{key}"
        yield from _dotted(value, f"{prefix}{key}.")
