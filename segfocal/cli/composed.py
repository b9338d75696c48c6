"""A command's config for a program, composed from options as its command line would, outside of Hydra's main."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segfocal.cli.app import check_text, conf_folder, import_modules
from segfocal.cli.config_errors import config_error
from segfocal.cli.settling import settle

_PLAIN = re.compile(r"[A-Za-z_./][\w./+@-]*")  # what needs no quotes
_WORDS = ("null", "true", "false", "nan", "inf")  # what would not be read as text without them


@dataclass(frozen=True, kw_only=True, eq=False)
class Composed:
    """A config and what it was made of.

    Args:
        config: settled, without Hydra's part.
        overrides: as on a command line.
        choices: the file chosen of each config group.
    """

    config: DictConfig
    overrides: tuple[str, ...]
    choices: Mapping[str, str | None]


def composed(command: str, options: Sequence[str] | Mapping[str, Any]) -> Composed:
    """Return the config of a command.

    Args:
        command: its name, as of its file in conf.
        options: as on a command line, ["loss=focal", "train.steps=80"], or by name, {"loss": "focal"}.

    Raises:
        UserError: an option that is not there or of another kind.
    """
    if isinstance(options, Mapping):
        options = [override(key, value) for key, value in options.items()]
    overrides = tuple(options)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
            config = compose(command, overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error, command, conf_folder()) from error
    choices = dict(config.hydra.runtime.choices)
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    check_text(OmegaConf.to_container(config, resolve=False))
    import_modules(config)
    settle(config, command, overrides=overrides)
    return Composed(config=config, overrides=overrides, choices=choices)


def override(key: str, value: Any) -> str:
    """Return an option by its name and value as a command line has it: target=[liver,spleen]."""
    return f"{key}={_written(value)}"


def _key(key: Any) -> str:
    """Return a key of a mapping, in which Hydra takes backslashes and no quotes."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", str(key))


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # Hydra reads a backslash as such unless a quote follows it
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"
