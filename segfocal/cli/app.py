"""Runs a Hydra application so that a user's mistake ends in one message and exit code 1, not in a traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segfocal.cli import composing
from segfocal.cli.config_errors import check_packages, config_message
from segfocal.cli.settling import imported, settle
from segfocal.errors import UserError, UserNote
from segfocal.files import claims_recorded
from segfocal.plain_text import visible

TOLD = set[str]()  # lines that this command has printed and that it need not repeat
_VISIBLE = "SEGFOCAL_VISIBLE_GPUS"  # what CUDA_VISIBLE_DEVICES was before a job took its own
_IN_HOME = re.compile(r"~(/[^'\"\[\]{},]*)?")
_FULL = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left for this user on the disk",
    errno.EFBIG: "a file larger than the system allows",
}
_PACKAGE = Path(__file__).resolve().parents[1]


def conf_folder() -> Path:
    """Return the folder of YAML files: inside the installed package, or beside it in a source tree."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def demo_data() -> str:
    """Return the folder of the demo scans: inside the installed package, or beside it in a source tree."""
    inside = _PACKAGE / "demo_scans"
    return str(inside if inside.is_dir() else _PACKAGE.parent / "data" / "demo")


def register_resolvers() -> None:
    """Make the functions known that YAML files call: ${demo_data:}, ${choices:…}, ${side:…} and ${sides:…}."""
    OmegaConf.register_new_resolver("demo_data", demo_data, replace=True)
    OmegaConf.register_new_resolver("choices", _choices, replace=True)
    OmegaConf.register_new_resolver("side", _side, replace=True)
    OmegaConf.register_new_resolver("sides", _sides, replace=True)


def _choices(values: Any) -> str:
    """Return the values of a sweep, a list or a single one, as Hydra's sweeper writes them."""
    listed = [values] if isinstance(values, str | int | float | None) else list(values)
    return ",".join("null" if value is None else str(value) for value in listed)


def _side(window: Any) -> Any:
    """Return the first side of a window, which may be one number for all."""
    return window if isinstance(window, int | float | str) else window[0]


def _sides(window: Any) -> Any:
    """Return the sides of a volume's window, and the first one of a slice's."""
    return list(window) if isinstance(window, Sequence) and len(window) == 3 else _side(window)


def place(text: str) -> Path:
    """Return the path of an option, ~ at its beginning read as the home folder."""
    return Path(os.path.expanduser(text))


def shown_path(path: Path) -> str:
    """Return a path as a user would type it: relative to the working folder where it lies inside."""
    return visible(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path), lines=False)


def run(config_name: str, job: Callable[[DictConfig], float | None]) -> int:
    """Compose `config_name` from the command line and run `job` with it, once or as a multirun; return the exit code.

    In a multirun a job that fails is reported and the others go on; what a job returns goes to the sweeper.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to the messages below
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch on a CPU: huge pages, a fortieth of the page faults
    sys.argv[1:] = [_home_found(argument) for argument in sys.argv[1:]]
    TOLD.clear()
    failed = 0

    def guarded(config: DictConfig) -> float | None:
        nonlocal failed
        _take_a_gpu()
        try:
            check_text(OmegaConf.to_container(config, resolve=False))
            check_packages(config)
            import_modules(config)
            settle(config, config_name, overrides=_typed())
            with claims_recorded():
                return job(config)
        except Exception as error:
            failed += 1  # a count: the errors themselves would keep what their runs had in memory
            _report(error, debug=config.get("debug") is True, command=config_name)
            return float("nan")

    debug = "debug=true" in [argument.lower() for argument in sys.argv]
    main = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(guarded)
    try:
        with _notes_in_one_line(), told_to_the_end():
            main()
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        return getattr(stop, "code", 130)
    except Exception as error:
        failed += 1
        _report(error, debug=debug, command=config_name)
    return 1 if failed else 0


def run_plainly(job: Callable[[], object]) -> int:
    """Run the job of a command without a config; return the exit code."""
    try:
        with _notes_in_one_line(), told_to_the_end(), claims_recorded():
            job()
    except Exception as error:
        _report(error, debug=False)
        return 1
    return 0


@contextmanager
def told_to_the_end() -> Iterator[None]:
    """Write out what the block printed; where who read it has gone, let Python not complain of it at its own end."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextmanager
def _notes_in_one_line() -> Iterator[None]:
    """Show notes as messages, without the place in the code where they were made, and no warning's text acting."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, UserNote):
            print(visible(f"note: {message}"), file=sys.stderr)
        else:
            others(visible(str(message)), category, *place, **options)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = others


@contextmanager
def fitting_together() -> Iterator[None]:
    """Raise UserError for what a constructor in the block says about options that do not fit together."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UserError(expected="a config that fits together", found=str(error), do="change that option") from error


def _home_found(argument: str) -> str:
    """Return an argument key=~/path, which Hydra cannot read and shells leave as it is, with the home folder in it."""
    key, _, value = argument.partition("=")
    if not _IN_HOME.fullmatch(value):
        return argument
    path = os.path.expanduser(value).replace("'", r"\'")
    return f"{key}='{path}'"


def _take_a_gpu() -> None:
    """Give each job of a multirun that runs several at a time on this machine a GPU of its own, in turn."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized() or "joblib" not in str(HydraConfig.get().launcher.get("_target_")):
        return
    from torch import cuda

    given = os.environ.setdefault(_VISIBLE, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    visible = [name for name in given.split(",") if name] or [str(n) for n in range(cuda.device_count())]
    if len(visible) > 1:  # counting asks the driver, not CUDA: the choice below still holds
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[HydraConfig.get().job.num % len(visible)]


def import_modules(config: DictConfig) -> None:
    """Import modules of the user's, which may add models; UserError for one that cannot be found."""
    for name in imported(config):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0]:  # something that the user's own module imports
                raise
            raise UserError(
                expected=f"a module {name} for imports",
                found=str(error),
                do="set PYTHONPATH to the folder it lies in",
            ) from error


def _typed() -> list[str]:
    """Return the options of the command line, or of this job of a sweep."""
    from hydra.core.hydra_config import HydraConfig

    typed: Any = OmegaConf.to_container(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return typed


def check_text(value: Any, key: str = "") -> None:
    """Raise UserError for an option that holds a NUL, which no path or name can."""
    if isinstance(value, str) and "\0" in value:
        raise UserError(expected=f"{key} without a NUL", found=repr(value)[:80], do="write it anew")
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in pairs:
        check_text(one, f"{key}.{name}".lstrip("."))


def _report(error: Exception, *, debug: bool, command: str | None = None) -> None:
    """Print what went wrong: a user's error as its message, a fault of ours with its traceback.

    Nothing is said when who read the output has gone, as `| head -1` does.

    Args:
        error: what was raised.
        debug: show the traceback, whatever it is.
        command: whose options are searched for the one that was meant.
    """
    if isinstance(error, BrokenPipeError):
        return
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    elif isinstance(error, OSError) and error.errno in _FULL:
        print(f"error: {_FULL[error.errno]}. Free some space, or choose another folder.", file=sys.stderr)
    elif isinstance(error, OSError) and error.filename:
        said = f"error: {error.strerror}: {error.filename}. Check the path and its permissions."
        print(visible(said), file=sys.stderr)
    elif isinstance(error, MemoryError):
        said = f"error: not enough memory: {error}. Use a smaller scan, batch or window."
        print(visible(said), file=sys.stderr)
    elif isinstance(error, HydraException | OmegaConfBaseException):
        said = f"error in the command line or config: {config_message(error, command, conf_folder())}"
        print(visible(said), file=sys.stderr)
    else:
        print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        print("error: a fault in segfocal; please report the lines above", file=sys.stderr)


register_resolvers()  # on import: a launcher may bring a job to another process, where its config is put together first
composing.install()
