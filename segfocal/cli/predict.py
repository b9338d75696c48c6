"""`segfocal predict`: a bundle and a scan in, a mask out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.cli.data_options import as_list
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.predict.predict import Job
    from segfocal.predict.prompts import Prompting


def main() -> int:
    """Run the command; return its exit code."""
    return run("predict", predict)


def predict(config: DictConfig) -> None:
    """Segment one scan, or many, by a config and print what was written."""
    from segfocal.inference import bundle as bundles
    from segfocal.predict.inputs import find_scans, names_many
    from segfocal.predict.many import predict_many
    from segfocal.predict.predict import predict as predict_job

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for handled in ("debug", "imports"):
        plain.pop(handled)
    retry = plain.pop("retry")
    job = _job(plain)
    if not job.more and names_many(job.input):
        scans = find_scans(job.input, output=job.output, channels=bundles.read_channels(job.bundles[0]))
        predict_many(job, scans, retry=retry, say=_say)
        return
    report = predict_job(job)
    sizes = [f"{name} {ml:.1f} ml" for name, ml in report.get("volume_ml", {}).items()]
    sizes += [f"{name} {count} pixels" for name, count in report.get("pixels", {}).items()]
    print(f"{plain['output']}: {', '.join(sizes)} ({report['seconds']:.1f} s on {report['device']})")
    if count := report.get("slices"):
        print(f"slices: {count['prompted']} prompted, {count['answered']} answered, {count['asked']} asked anew")


def _say(line: str) -> None:
    print(line, flush=True)


def _job(plain: dict[str, Any]) -> Job:
    """Return the job that options ask for; UserError for values of the wrong kind."""
    from segfocal.inference.predictor import SETTINGS, Sweeping
    from segfocal.predict.predict import Job

    _check(plain)
    try:
        sweeping = Sweeping(**{name: plain.pop(name) for name in SETTINGS})
    except (TypeError, ValueError) as error:
        raise UserError(expected="options that go together", found=str(error), do="change that option") from error
    bundle, given = plain.pop("bundle"), as_list(plain.pop("input"))
    paths: dict[str, Any] = {"input": Path(given[0]), "more": tuple(map(Path, given[1:]))}
    paths["output"] = Path(plain["output"])
    paths |= {key: Path(plain[key]) if plain[key] else None for key in ("boxes", "reference")}
    paths["bundle"] = Path(bundle) if isinstance(bundle, str) else [Path(one) for one in bundle]
    prompting = _prompting({key: plain.pop(key) for key in ("prompts", "session", "embeddings", "propagate")})
    return Job(**(plain | paths), sweeping=sweeping, prompting=prompting)


def _prompting(plain: dict[str, Any]) -> Prompting | None:
    """Return what was asked of a file of prompts; UserError for an option out of its range."""
    from segfocal.inference.prompted.slice_model import Propagation
    from segfocal.predict.prompts import Prompting

    try:
        options = Propagation(**plain["propagate"])
    except (TypeError, ValueError) as error:
        raise UserError(expected="options of propagation", found=str(error), do="change that option") from error
    if not plain["prompts"]:
        return None
    session, embeddings = (Path(plain[key]) if plain[key] else None for key in ("session", "embeddings"))
    return Prompting(file=Path(plain["prompts"]), session=session, embeddings=embeddings, options=options)


def _check(plain: dict[str, Any]) -> None:
    for key, do in (("bundle", "give the folder"), ("input", "give the file or folder, or one file a channel")):
        given = as_list(plain[key])
        if not given or not all(isinstance(one, str) for one in given):
            raise UserError(expected=f"a path, or a list of paths, for {key}", found=f"{key}={plain[key]}", do=do)
    if not isinstance(plain["output"], str):
        raise UserError(expected="a path for output", found=f"output={plain['output']}", do="give the file or folder")
    for key, kind in (("overlap", (int, float)), ("batch_size", (int,))):
        if not isinstance(plain[key], kind):
            raise UserError(expected=f"a number for {key}", found=f"{key}={plain[key]}", do="change that option")
    for key, words in (("prompt", ("none", "box")), ("postprocess", ("auto", "none"))):
        if plain[key] not in words:
            expected = " or ".join(f"{key}={word}" for word in words)
            raise UserError(expected=expected, found=f"{key}={plain[key]}", do="change that option")
