"""Configs that came with data are data: what would run a program is refused, unless it was typed on the command line.

Hydra starts callbacks, launchers and sweepers before any command of ours begins, so this looks at each config as soon
as Hydra has put it together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segfocal.errors import UserError

_OURS = {"compare": {"_target_": "segfocal.cli.compare.AfterMultirun"}}
_PLUGINS = re.compile(
    r"hydra_plugins\.\w+\.\w+\.\w+|hydra\._internal\.core_plugins\.\w+\.\w+|optuna\.samplers\.\w+Sampler"
)
_DEEPEST = 30
_STREAMS = ("sys.stdout", "sys.stderr")
_LOGGERS = re.compile(r"logging\.\w+|colorlog\.\w+")
# What else starts programs, reads code or writes elsewhere: only as Hydra has it, or typed.
_PROGRAMS: tuple[str, ...] = ("searchpath", "output_subdir", "job.env_set", "job.env_copy", "job.chdir")
_PROGRAMS += ("launcher.setup", "launcher.python", "launcher.additional_parameters", "launcher.srun_args")
_PROGRAMS += ("launcher.init", "launcher.remote", "sweeper.custom_search_space", "sweeper.storage")
_PARTS = ("callbacks", "launcher", "sweeper", "job", "job_logging", "hydra_logging", "searchpath", "output_subdir")
_BUILT_IN = ("basic", "joblib", "submitit_local", "submitit_slurm", "ray")


def check_programs(config: DictConfig) -> None:
    """Raise UserError where the part of a config that is Hydra's runs something that was not typed.

    Args:
        config: with its node `hydra`.
    """
    hydra = config.hydra
    written: Any = OmegaConf.to_container(hydra.overrides)
    names = [item.lstrip("+~").split("=", 1)[0].split("@")[0] for part in written.values() for item in part]
    groups = {name.replace("/", ".") for name in names if "/" in name}
    typed = {name for name in names if "/" not in name}
    launcher = hydra.runtime.choices.get("hydra/launcher") or "basic"
    tree = {name: _plain(hydra[name]) for name in _PARTS if name in hydra}
    for name in _running(tree, launcher):
        said = name in groups or any(f"{name}.".startswith(f"{one}.") or one.startswith(f"{name}.") for one in typed)
        if not said:
            raise UserError(
                expected=f"{name} typed on the command line, as it runs a program",
                found="it in a file of the config",
                do="take it out of that file, or type it if you know what it does",
            )
    if config.get("imports") and "imports" not in typed:
        raise UserError(
            expected="imports typed on the command line, as it runs a module",
            found="it in a file of the config",
            do=f"take it out of that file, or add imports={_spelt(config.imports)} if the module is yours",
        )


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else f"[{','.join(map(str, value))}]"


def _running(tree: dict[str, Any], launcher: str) -> Iterator[str]:
    """Yield the names of what runs a program, other than what we and Hydra's plug-ins come with."""
    callbacks = tree["callbacks"] or {}
    for name, callback in callbacks.items() if isinstance(callbacks, dict) else [("", callbacks)]:
        if _OURS.get(name) != callback:
            yield f"hydra.callbacks.{name}"
    if launcher != "basic":
        yield "hydra.launcher"
    own = launcher not in _BUILT_IN  # a file of the user's, chosen by name
    for name in _PROGRAMS:
        if _at(tree, name) not in (None, {}, [], False) and not (own and name.startswith("launcher.")):
            yield f"hydra.{name}"
    for part in ("job_logging", "hydra_logging", "launcher", "sweeper"):
        for where, value in _leaves(tree[part], part):
            if _runs(where, value):
                yield f"hydra.{where}"


def _runs(where: str, value: Any) -> bool:
    """Return whether an entry has something called that is neither a plug-in of Hydra's nor a logger."""
    last, logs = where.rpartition(".")[2], "_logging" in where.partition(".")[0]
    if last == "_target_":
        return logs or not _PLUGINS.fullmatch(str(value))
    if isinstance(value, str) and ("oc.create" in value or (logs and value.startswith(("cfg://", "ext://")))):
        return value[6:] not in _STREAMS
    return logs and last in ("()", "class") and not _LOGGERS.fullmatch(str(value))


def _plain(node: Any, depth: int = 0) -> Any:
    """Return a part of a config as dictionaries, lists and values; what nothing is known of yet as it is written."""
    if depth > _DEEPEST:
        raise UserError(
            expected=f"a config of at most {_DEEPEST} levels", found="a deeper one", do="take it out of that file"
        )
    if not OmegaConf.is_config(node) or node._is_none() or node._is_missing():
        return None if OmegaConf.is_config(node) else node
    keys = range(len(node)) if OmegaConf.is_list(node) else list(node)
    found = {key: _plain(_value(node, key), depth + 1) for key in keys}
    return list(found.values()) if OmegaConf.is_list(node) else found


def _value(node: Any, key: Any) -> Any:
    try:
        return node[key]
    except OmegaConfBaseException:
        return node._get_node(key)._value()


def _at(tree: Any, name: str) -> Any:
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _leaves(tree: Any, where: str) -> Iterator[tuple[str, Any]]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if parts is None:
        yield where, tree
        return
    for key, part in parts:
        yield from _leaves(part, f"{where}.{key}" if where else str(key))
