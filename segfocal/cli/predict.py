"""`segfocal predict`: a bundle and a scan in, a mask out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.serve.prompted import Prompting


def main() -> int:
    """Run the command; return its exit code."""
    return run("predict", predict)


def predict(config: DictConfig) -> None:
    """Segment one scan by a config and print what was written."""
    from segfocal.serve.predict import Job
    from segfocal.serve.predict import predict as predict_job

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for handled in ("debug", "imports"):
        plain.pop(handled)
    _check(plain)
    paths: dict[str, Path | None] = {key: Path(plain[key]) for key in ("bundle", "input", "output")}
    paths |= {key: Path(plain[key]) if plain[key] else None for key in ("boxes", "reference")}
    prompting = _prompting({key: plain.pop(key) for key in ("prompts", "session", "embeddings", "propagate")})
    report = predict_job(Job(**(plain | paths), prompting=prompting))
    sizes = [f"{name} {ml:.1f} ml" for name, ml in report.get("volume_ml", {}).items()]
    sizes += [f"{name} {count} pixels" for name, count in report.get("pixels", {}).items()]
    print(f"{plain['output']}: {', '.join(sizes)} ({report['seconds']:.1f} s on {report['device']})")
    if count := report.get("slices"):
        print(f"slices: {count['prompted']} prompted, {count['answered']} answered, {count['asked']} asked anew")


def _prompting(plain: dict[str, Any]) -> Prompting | None:
    """Return what was asked of a file of prompts; UserError for an option out of its range."""
    from segfocal.inference.carry import Propagation
    from segfocal.serve.prompted import Prompting

    try:
        options = Propagation(**plain["propagate"])
    except (TypeError, ValueError) as error:
        raise UserError(expected="options of propagation", found=str(error), do="change that option") from error
    if not plain["prompts"]:
        return None
    session, embeddings = (Path(plain[key]) if plain[key] else None for key in ("session", "embeddings"))
    return Prompting(file=Path(plain["prompts"]), session=session, embeddings=embeddings, options=options)


def _check(plain: dict[str, Any]) -> None:
    for key in ("bundle", "input", "output"):
        if not isinstance(plain[key], str):
            raise UserError(expected=f"a path for {key}", found=f"{key}={plain[key]}", do="give the file or folder")
    for key, kind in (("overlap", (int, float)), ("batch_size", (int,))):
        if not isinstance(plain[key], kind):
            raise UserError(expected=f"a number for {key}", found=f"{key}={plain[key]}", do="change that option")
    rules = {
        "prompt=none or prompt=box": plain["prompt"] in ("none", "box"),
        "overlap in [0,1)": 0 <= plain["overlap"] < 1,
        "batch_size ≥ 1": plain["batch_size"] >= 1,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        found = ", ".join(f"{key}={plain[key]}" for key in ("prompt", "overlap", "batch_size"))
        raise UserError(expected="; ".join(broken), found=found, do="change that option")
