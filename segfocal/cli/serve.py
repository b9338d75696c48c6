"""`segfocal serve`: a server on this machine, to look at scans, click and correct."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.errors import UserError
from segfocal.plain_text import visible
from segfocal.typed_words import option

if TYPE_CHECKING:
    from segfocal.serve.options import ServeOptions

_OF_THE_MODEL = ("model", "task", "loss", "augment", "intensity", "train")  # options of a run that hold for other data
_WEIGHTS = "model.weights"


def main() -> int:
    """Run the command; return its exit code."""
    return run("serve", serve)


def serve(config: DictConfig) -> None:
    """Serve by a config until the process is told to end."""
    check_extra()
    from segfocal.serve.run_server import serve as listen

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    listen(serve_options(plain), say=lambda line: print(visible(line), flush=True))


def check_extra() -> None:
    """Raise UserError where the packages of the extra `serve` are not installed."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UserError(
            expected="the packages of the extra serve",
            found=f"no {' and no '.join(missing)}",
            do="run pip install 'segfocal[serve]'",
        )


def serve_options(plain: dict[str, Any]) -> ServeOptions:
    """Return the checked record of a config's options; UserError for values that do not go together."""
    from segfocal.device import choose_device
    from segfocal.inference.prompted.propagation_options import PropagationOptions
    from segfocal.inference.sliding.sliding_options import SlidingOptions
    from segfocal.serve.options import ServeLimits, ServeOptions

    try:
        propagation = PropagationOptions(**plain["propagate"])
        sliding = SlidingOptions(**{name: plain[name] for name in ("overlap", "batch_size", "engine")})
    except (TypeError, ValueError) as error:
        raise UserError(expected="options that go together", found=str(error), do="change that option") from error
    names = ("sessions", "idle_minutes", "upload_mib", "waiting")
    return ServeOptions(
        bundle=Path(plain["bundle"]),
        inputs=Path(plain["input"]) if plain["input"] else None,
        output=Path(plain["output"]),
        sessions=Path(plain["session"]),
        host=plain["host"],
        port=plain["port"],
        key=plain["key"],
        viewer_axes=plain["viewer_axes"],
        limits=ServeLimits(**{name: plain["limits"][name] for name in names}),
        propagation=propagation,
        sliding=sliding,
        device=choose_device(plain["device"]),
        train=plain["train"],
        train_options=going_on_from(Path(plain["bundle"])),
    )


def going_on_from(bundle: Path) -> tuple[str, ...]:
    """Return the options of `segfocal train` that make the same kind of model as a run's bundle, from its weights on.

    They are those that were typed for its run, on the model and how it is trained, and the bundle's pixel spacing and
    window. () of a bundle that no run lies around, and of an ensemble.
    """
    from segfocal.compare.records import read_note
    from segfocal.compare.runs import NEUTRAL, RUN_FILE
    from segfocal.foreign import door
    from segfocal.inference.bundle import FILES

    note = bundle.resolve().parent / RUN_FILE
    facts = bundle / FILES[1]
    if not (note.is_file() and facts.is_file()):
        return ()
    names = {word: word.lstrip("+~").split("=", 1)[0] for word in read_note(note).overrides}
    kept = [word for word, name in names.items() if name == "experiment"]
    kept += ["hydra.mode=RUN"] if kept else []  # of the experiments some are sweeps
    kept += [w for w, name in names.items() if name.split(".")[0] in _OF_THE_MODEL and name not in (*NEUTRAL, _WEIGHTS)]
    told = door.read_json(facts)
    geometry = [f"data.{name}={_in_words(told.get(name))}" for name in ("frame", "spacing_mm", "size", "window")]
    return (*kept, *geometry, f"data.neighbours={told.get('neighbours', 0)}", option(_WEIGHTS, bundle))


def _in_words(value: Any) -> str:
    """Return a value of JSON as Hydra's command line takes it."""
    return json.dumps(value).replace(" ", "").replace('"', "")
