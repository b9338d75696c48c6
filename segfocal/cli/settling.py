"""The options of a command, settled at the door: each of its kind, paths in the home folder found, targets known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from segfocal.cli.option_table import kinds_of_options
from segfocal.cli.targets import TARGET, Key, check_tree
from segfocal.errors import UserError
from segfocal.option_kinds import converted

AUTO = "auto"  # of data.spacing_mm and data.window
# where nothing can be measured, and until it is
STAND_INS: Mapping[str, list[Any]] = {"spacing_mm": [1.5, 1.5], "window": [256, 256]}
_MISSING = "???"


def settle(config: DictConfig, command: str, overrides: Sequence[str] = ()) -> None:
    """Give every option of a command the value it means, in place; nothing is built.

    Args:
        config: of the command, without Hydra's part.
        command: its name, as of its file in conf.
        overrides: what was typed.

    Raises:
        UserError: an option of another kind, or taken away, a target that is not on the list.
    """
    kinds = kinds_of_options(command)
    _check_there(kinds, overrides)
    plain: Any = OmegaConf.to_container(with_stand_ins(config), resolve=True)
    try:
        changes = [*_spelt_otherwise(plain, kinds), *check_tree(plain, imports=imported(plain))]
    except ValueError as error:
        expected, _, found = str(error).removeprefix("expected ").partition("; got ")
        raise UserError(expected=expected, found=found, do="change that option; --help lists them all") from None
    for where, value in changes:
        _put(config, where, value)


def with_stand_ins(config: DictConfig) -> DictConfig:
    """Return a config in which numbers stand for a spacing and window that are still to be measured, or itself."""
    open_keys = [key for key in STAND_INS if is_auto(config, key)]
    copy = config.copy() if open_keys else config
    for key in open_keys:
        _put(copy, ("data", key), STAND_INS[key])
    return copy


def is_auto(config: DictConfig, key: str) -> bool:
    """Return whether an option of the data is left to a measurement."""
    data = config.get("data")
    return isinstance(data, DictConfig) and data.get(key) == AUTO


def imported(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules that a config imports first."""
    listed = plain.get("imports") or []
    return (listed,) if isinstance(listed, str) else tuple(map(str, listed))


def _check_there(kinds: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise UserError for an option that a command needs and that ~ takes away."""
    for item in overrides:
        name = item[1:].split("=", 1)[0].split("@")[0].replace("/", ".")
        if item.startswith("~") and (name in kinds or name.endswith(f".{TARGET}")):
            raise UserError(
                expected=f"the option {name}, which this command needs",
                found=f"{item}, which takes it away",
                do="leave it out, or choose another value; a path in your home folder begins with ~ after the =",
            )


def _spelt_otherwise(plain: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[tuple[tuple[Key, ...], Any]]:
    for name, kind in kinds.items():
        where = tuple(name.split("."))
        found: Any = plain
        for key in where:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        if found == _MISSING:
            continue
        meant = converted(found, kind, name)
        if meant != found:
            yield where, meant


def _put(config: DictConfig, where: tuple[Key, ...], value: Any) -> None:
    node: Any = config
    for key in where[:-1]:
        node = node[key]
    with open_dict(config):
        node[where[-1]] = value
