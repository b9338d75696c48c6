"""Every config as soon as Hydra has put it together: no programs from files, `~` as the home folder, names of folders.

Hydra offers no such place to its applications, so its loader is wrapped. Launchers that bring jobs to other processes
import this with the job.
"""

from __future__ import annotations

import os
import re
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from segfocal.cli.foreign_config import check_programs
from segfocal.errors import UserError
from segfocal.plain_names import slug

_load = ConfigLoaderImpl.load_configuration
_KEPT = re.compile(r"(\$\{hydra\.job\.(?:num|id)\}|/)")  # of a folder's name: known when a job starts, or typed


def install() -> None:
    """Have every config looked at that Hydra composes from now on."""
    ConfigLoaderImpl.load_configuration = _loaded  # type: ignore[method-assign, assignment]


def _loaded(
    self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: RunMode, **more: Any
) -> DictConfig:
    """Compose a config as Hydra does, and settle the part of it that is Hydra's.

    Args:
        self: Hydra's loader.
        config_name: of the command.
        overrides: what was typed, or what a sweep sets for one of its jobs.
        run_mode: RUN for a job.
        more: see Hydra.
    """
    try:
        config = _load(self, config_name, overrides, run_mode, **more)
    except ValueError as error:  # of a group that is given no name of a file
        raise UserError(
            expected="a choice for each group", found=str(error), do="see --help for the choices"
        ) from error
    check_programs(config)
    for part in (config.hydra.run, config.hydra.sweep):
        written = part._get_node("dir")._value()
        if isinstance(written, str) and written.startswith("~"):
            part.dir = os.path.expanduser(written)
    if run_mode == RunMode.RUN:
        config.hydra.sweep.subdir = _folder_name(config)
    elif _of_workers(config):
        from segfocal.cli.cluster_launcher import launch_by

        launch_by(config)
    return config


def _of_workers(config: DictConfig) -> bool:
    """Return whether the jobs of a sweep are for a cluster's workers, and no launcher of Hydra's is chosen."""
    launcher = config.hydra.runtime.choices.get("hydra/launcher") or "basic"
    return launcher == "basic" and (config.get("cluster") or {}).get("kind", "none") != "none"


def _folder_name(config: DictConfig) -> str | None:
    """Return the name of a job's folder in that of its sweep: short, safe, inside, and another for other options.

    A name that was given without any option in it, the same for every job, gets a folder of the job's options inside.
    """
    written = config.hydra.sweep._get_node("subdir")._value()
    if not isinstance(written, str) or written == "???":
        return written
    if "${" not in written:
        written += "/${hydra.job.override_dirname}"
    try:
        return "".join(part if _KEPT.fullmatch(part) else _named(config, part) for part in _KEPT.split(written) if part)
    except OmegaConfBaseException:  # told by whoever needs the name
        return written


def _named(config: DictConfig, written: str) -> str:
    config.hydra.sweep.subdir = written
    return slug(str(config.hydra.sweep.subdir))
