"""What a config may have built: one list of targets, held against the whole tree before anything is made of it.

A `_target_` names a loss, task, augmentation or intensity of ours, a model on `segfocal.models.ALLOWED`, a transform
of MONAI, or something that a module of the user's own defines: one that PYTHONPATH finds, or that the command line
names in `imports`. Anything else is refused, wherever in the tree it stands and whether or not it would be reached.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any

from segfocal.errors import UserError
from segfocal.option_kinds import converted, kinds_of, shown

Built = Callable[..., Any]
Key = str | int

TARGET = "_target_"
_ROOMS = ("segfocal.losses", "segfocal.tasks", "segfocal.augment")  # what they offer in __all__
_MONAI = "monai.transforms"
_HOW = ("_partial_", "_recursive_", "_convert_", "_args_")  # how Hydra is to build something


def check_tree(tree: Any, *, imports: tuple[str, ...] = ()) -> list[tuple[tuple[Key, ...], Any]]:
    """Check every target of a resolved config, and the kind of every value given to it.

    Args:
        tree: dictionaries, lists and values; nothing in it is built.
        imports: modules that the command line names, whose definitions are targets too.

    Returns:
        The values that were spelt otherwise, such as "no" for false, as they are meant, with where they stand.

    Raises:
        UserError: a target that is not on the list; nothing is imported or called for it.
        ValueError: a value of another kind than its constructor's annotation.
    """
    parts = list(_with_target(tree, ()))
    found = {where: found_target(part[TARGET], _dotted((*where, TARGET)), imports) for where, part in parts}
    return [change for where, part in parts for change in _changes(part, kinds(found[where]), where)]


def build(config: Any, *, imports: tuple[str, ...] = (), **given: Any) -> Any:
    """Build the object of a checked config, parts first; lists and dictionaries stay plain.

    Args:
        config: with `_target_`, or anything that holds such.
        imports: as for `check_tree`.
        given: further arguments of the outermost target.

    Raises:
        UserError: a target that is not on the list.
        ValueError, TypeError: what a constructor says; any other error of one as a ValueError.
    """
    if isinstance(config, list):
        return [build(each, imports=imports) for each in config]
    if not isinstance(config, Mapping):
        return config
    deep = config.get("_recursive_", True)
    made = {key: build(value, imports=imports) if deep else value for key, value in config.items()}
    if TARGET not in config:
        return made
    target = found_target(made.pop(TARGET), TARGET, imports)
    how = {key: made.pop(key) for key in _HOW if key in made}
    arguments = how.get("_args_", [])
    if how.get("_partial_"):
        return partial(target, *arguments, **made, **given)
    try:
        return target(*arguments, **made, **given)
    except (ValueError, TypeError, UserError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{config[TARGET]}: {type(error).__name__}: {error}") from error


def kinds(target: Built) -> Mapping[str, Any]:
    """Return the kinds of a target's arguments, also where it hands them on to a record of options."""
    if target.__module__.startswith(_MONAI):
        return {}  # annotated loosely
    record = _records().get(target) if target.__module__.startswith("segfocal.") else None
    return kinds_of(record or target)


def _records() -> dict[Any, Any]:
    from segfocal import models
    from segfocal.models.sam.sam_options import SamOptions
    from segfocal.models.sam.tiny import SamTinyOptions
    from segfocal.models.sam.variants import VARIANTS
    from segfocal.tasks import Promptable
    from segfocal.tasks.prompt_training import PromptTraining

    variants = {models.ALLOWED[f"segfocal.models.{name}"]: SamOptions for name in VARIANTS}
    return {Promptable: PromptTraining, models.sam_tiny: SamTinyOptions, **variants}


def _with_target(tree: Any, where: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], Mapping[str, Any]]]:
    """Yield every part of a tree that has a target, with where it stands."""
    if isinstance(tree, Mapping) and TARGET in tree:
        yield where, tree
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from _with_target(part, (*where, key))


def _changes(
    part: Mapping[str, Any], asked: Mapping[str, Any], where: tuple[Key, ...]
) -> Iterator[tuple[tuple[Key, ...], Any]]:
    for key, value in part.items():
        if (
            key not in asked or value == "???" or any(True for _ in _with_target(value, ()))
        ):  # what is built is checked by itself
            continue
        name = _dotted((*where, key))
        kind = Mapping[str | int, float] if by_class(value, asked[key]) else asked[key]
        meant = converted(value, kind, name)
        if meant != value and not isinstance(meant, tuple):
            yield (*where, key), meant


def by_class(value: Any, kind: Any) -> bool:
    """Return whether a value gives weights by the names of classes, which the plan of a run turns into a list."""
    if not isinstance(value, Mapping) or set(value) & {"linear", "steps"}:
        return False
    from segfocal.losses.class_weights import Alpha, ClassWeights

    return kind in (Alpha, ClassWeights)


def _dotted(where: tuple[Key, ...]) -> str:
    return ".".join(map(str, where))


def found_target(name: Any, where: str, imports: tuple[str, ...]) -> Built:
    """Return what a target names; UserError for what is not on the list."""
    target = _on_list(name) or _of_monai(name) or _own(name, imports) if isinstance(name, str) else None
    if target is None:
        raise UserError(
            expected=f"{where} to name a loss, task, augmentation, intensity or model of segfocal, a transform of "
            "MONAI, or something of a module of yours",
            found=shown(name),
            do="set PYTHONPATH to the folder of your module, or name it with imports= on the command line",
        )
    return target


def _on_list(name: str) -> Built | None:
    room, _, last = name.rpartition(".")
    if room in _ROOMS:
        offered = import_module(room)
        return getattr(offered, last) if last in offered.__all__ else None
    if not name.startswith("segfocal.intensity."):
        models = (
            import_module("segfocal.models") if "segfocal.models" in sys.modules or room == "segfocal.models" else None
        )
        return models.ALLOWED.get(name) if models else None
    from segfocal import intensity

    return intensity.KINDS.get(name)


def _of_monai(name: str) -> Built | None:
    """Return a transform of MONAI, of those that read and write no files."""
    room, _, last = name.rpartition(".")
    if room != _MONAI:
        return None
    transforms = import_module(_MONAI)
    found = getattr(transforms, last, None)
    known = inspect.isclass(found) and issubclass(found, transforms.Transform)
    return found if known and not found.__module__.startswith(f"{_MONAI}.io") else None


def _own(name: str, imports: tuple[str, ...]) -> Built | None:
    """Return what a module of the user's own defines under this name."""
    room, _, last = name.rpartition(".")
    package = room.partition(".")[0]
    if not room or not is_own(package, imports):
        return None
    try:
        found = getattr(import_module(room), last, None)
    except ModuleNotFoundError as error:
        if error.name and not room.startswith(error.name):  # something that the user's own module imports
            raise
        return None
    defined = str(getattr(found, "__module__", "")).partition(".")[0]
    return found if callable(found) and defined == package else None


def is_own(package: str, imports: tuple[str, ...]) -> bool:
    """Return whether a package is the user's: named on the command line, or found by PYTHONPATH."""
    if package in sys.stdlib_module_names or package == "segfocal":
        return False
    if package in {name.partition(".")[0] for name in imports}:
        return True
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    installed = ("site-packages", "dist-packages")
    own = [folder for folder in folders if not os.path.normpath(folder).endswith(installed)]
    return PathFinder.find_spec(package, own) is not None
