"""`segfocal predict`: a bundle and a scan in, a mask out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.cli.data_options import as_list, tell_passed_over
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.predict.options import PredictOptions, PromptOptions

_OLD_KEYS = ("boxes", "reference")  # of prompts for prompt=box, before prompts=FILE held them all


def main() -> int:
    """Run the command; return its exit code."""
    return run("predict", predict)


def predict(config: DictConfig) -> None:
    """Segment one scan, or many, by a config and print what was written."""
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.inference import bundle as bundles
    from segfocal.predict.inputs import channels_apart, find_scans, names_many, passed_over
    from segfocal.predict.manifest import MANIFEST
    from segfocal.predict.many import predict_many
    from segfocal.predict.parts import Part
    from segfocal.predict.predict import predict as predict_one

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    cluster = ClusterSettings.of(plain["cluster"], imports=plain["imports"])
    options = predict_options(plain | {"device": _device_here(plain, cluster)})
    for key in _OLD_KEYS:
        if plain[key]:
            print(f"note: {key}={plain[key]} is now prompts={plain[key]}, with prompt=box as before", file=sys.stderr)
    if len(options.inputs) == 1 and names_many(options.scan):
        folder, channels = options.outputs.mask, bundles.read_channels(options.bundles[0])
        scans = find_scans(options.scan, output=folder, channels=channels)
        passed = passed_over(options.scan, scans, output=folder)
        tell_passed_over(passed, options.scan)
        if channels == 1 and (note := channels_apart(scans)):
            print(visible(note), file=sys.stderr)
        part = Part.of(plain["part"]) if plain["part"] is not None else None
        summary = predict_many(
            options,
            scans,
            passed=passed,
            retry=plain["retry"],
            part=part,
            cluster=None if cluster.kind == "none" else cluster,
            say=_say,
        )
        if summary.none_done:
            raise UserError(
                expected="a mask of one scan at least",
                found=f"none, all {len(summary.failed)} failed",
                where=folder / MANIFEST,
                do="mend what the lines above name",
            )
        return
    _check_for_one(plain)
    report = predict_one(options)
    sizes = [f"{name} {ml:.1f} ml" for name, ml in report.get("volume_ml", {}).items()]
    sizes += [f"{name} {count} pixels" for name, count in report.get("pixels", {}).items()]
    print(visible(f"{plain['output']}: {', '.join(sizes)} ({report['seconds']:.1f} s on {report['device']})"))
    if "warning" in report:
        print(visible(f"warning: {options.scan}: {report['warning']}"), file=sys.stderr)
    if count := report.get("slices"):
        print(f"slices: {count['prompted']} prompted, {count['answered']} answered, {count['asked']} asked now")


def _device_here(plain: dict[str, Any], cluster: ClusterSettings) -> str:
    """Return the device asked for of this process; workers take the GPUs that they are given, whatever is here."""
    if cluster.kind == "none":
        return plain["device"]
    if plain["device"] != "auto" and (plain["device"] == "cpu") != (cluster.gpus == 0):
        raise UserError(
            expected="cluster.gpus for workers with a GPU, 0 for workers without",
            found=f"device={plain['device']} and cluster.gpus={cluster.gpus:g}",
            do="leave device out, or change cluster.gpus",
        )
    return "auto"


def _check_for_one(plain: dict[str, Any]) -> None:
    """Raise UserError for options that only many scans have."""
    given = "cluster=ray" if plain["cluster"]["kind"] != "none" else f"part={plain['part']}"
    if given != "part=None":
        raise UserError(
            expected=f"many scans for {given}: a folder, a pattern or a list",
            found=f"input={plain['input']}",
            do="leave it out, or name the folder of the scan",
        )


def _say(line: str) -> None:
    print(visible(line), flush=True)


def predict_options(plain: dict[str, Any]) -> PredictOptions:
    """Return the checked record of a config's options; UserError for values of the wrong kind or combination."""
    from segfocal.device import choose_device
    from segfocal.inference.sliding.sliding_options import SLIDING, SlidingOptions
    from segfocal.predict.options import OutputOptions, PredictOptions

    _check_kinds(plain)
    try:
        sliding = SlidingOptions(**{name: plain[name] for name in SLIDING})
    except (TypeError, ValueError) as error:
        raise UserError(expected="options that go together", found=str(error), do="change that option") from error
    switches = {name: plain[name] for name in ("probabilities", "separate", "overwrite")}
    return PredictOptions(
        bundles=_members(plain),
        inputs=tuple(map(Path, as_list(plain["input"]))),
        outputs=OutputOptions(mask=Path(plain["output"]), **switches),
        prompts=_prompt_options(plain),
        sliding=sliding,
        postprocess=plain["postprocess"],
        device=choose_device(plain["device"]),
    )


def _members(plain: dict[str, Any]) -> tuple[Path, ...]:
    """Return the folders of the bundles asked for; of an ensemble those of its members, at most members=… of them."""
    from segfocal.inference.ensemble import members_of

    places = map(Path, as_list(plain["bundle"]))
    return tuple(member for place in places for member in members_of(place, most=plain["members"]))


def _prompt_options(plain: dict[str, Any]) -> PromptOptions | None:
    """Return which file of prompts is answered, and how; UserError for options that contradict each other."""
    from segfocal.inference.prompted.propagation_options import PropagationOptions
    from segfocal.predict.options import PromptKind, PromptOptions

    try:
        propagation = PropagationOptions(**plain["propagate"])
    except (TypeError, ValueError) as error:
        raise UserError(expected="options of propagation", found=str(error), do="change that option") from error
    given = [key for key in ("prompts", *_OLD_KEYS) if plain[key]]
    _check_prompts(plain["prompt"], given)
    if not given:
        return None
    file, kind = Path(plain[given[0]]), PromptKind.PROPAGATED
    if plain["prompt"] == "box":
        labels = given[0] == "reference" or (given[0] == "prompts" and _holds_labels(file))
        kind = PromptKind.LABEL_BOXES if labels else PromptKind.BOXES
    session, embeddings = (Path(plain[key]) if plain[key] else None for key in ("session", "embeddings"))
    return PromptOptions(file=file, kind=kind, session=session, embeddings=embeddings, propagation=propagation)


def _holds_labels(file: Path) -> bool:
    from segfocal.io.dicom.file_kinds import is_dicom, is_label
    from segfocal.io.volumes import is_named

    return is_named(file) or is_dicom(file) or is_label(file)


def _check_prompts(prompt: str, given: list[str]) -> None:
    """Raise UserError unless `prompt` and the keys that name files of prompts go together."""
    if len(given) > 1:
        raise UserError(
            expected="prompts=FILE alone", found=" and ".join(given), do="put all prompts into that file, or choose one"
        )
    if prompt == "box" and not given:
        raise UserError(
            expected="prompts=FILE.json, boxes, or prompts=LABEL.nii.gz, whose boxes are taken, for prompt=box",
            found="neither",
            do="give one of them",
        )
    if prompt == "none" and given and given != ["prompts"]:
        raise UserError(expected=f"prompt=box with {given[0]}", found="prompt=none", do="add prompt=box")


def _check_kinds(plain: dict[str, Any]) -> None:
    for key, do in (("bundle", "give the folder"), ("input", "give the file or folder, or one file a channel")):
        given = as_list(plain[key])
        if not given or not all(isinstance(one, str) for one in given):
            raise UserError(expected=f"a path, or a list of paths, for {key}", found=f"{key}={plain[key]}", do=do)
    _check_no_address(plain)
    if not isinstance(plain["output"], str):
        raise UserError(expected="a path for output", found=f"output={plain['output']}", do="give the file or folder")
    for key, kind in (("overlap", (int, float)), ("batch_size", (int,))):
        if not isinstance(plain[key], kind):
            raise UserError(expected=f"a number for {key}", found=f"{key}={plain[key]}", do="change that option")
    for key, words in (("prompt", ("none", "box")), ("postprocess", ("auto", "none"))):
        if plain[key] not in words:
            expected = " or ".join(f"{key}={word}" for word in words)
            raise UserError(expected=expected, found=f"{key}={plain[key]}", do="change that option")


def _check_no_address(plain: dict[str, Any]) -> None:
    """Raise UserError for s3://… and the like, which no path is."""
    for key in ("bundle", "input", "output"):
        for given in as_list(plain[key]):
            if "://" in str(given):
                raise UserError(
                    expected=f"a path for {key}",
                    found=f"the address {given}",
                    do="mount the bucket, or copy what is in it, and give the folder",
                )
