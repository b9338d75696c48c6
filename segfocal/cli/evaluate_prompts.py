"""`segfocal evaluate-prompts`: a promptable model and labelled scans in, Dice by kind of prompt out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.data_options import (
    cases_of,
    channels_of,
    check_batch_fits,
    grid_of,
    intensity_of,
    listed_cases,
    neighbours_of,
    pair,
    split_cases,
)
from segfocal.cli.evaluate import print_table
from segfocal.cli.geometry_options import with_geometry
from segfocal.cli.model_options import build_model
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from torch import nn

    from segfocal.data.case import Case, CaseList
    from segfocal.data.store.prepared_case import Preparation
    from segfocal.evaluate.prompts.options import PromptEvaluation
    from segfocal.evaluate.prompts.summary import PromptSummary
    from segfocal.evaluate.prompts.volumes import VolumeSummary
    from segfocal.intensity import Intensity
    from segfocal.resample import ModelGrid
    from segfocal.structure import Structure

T = TypeVar("T")
_SEEN = ("frame", "spacing_mm", "size", "window", "neighbours")
_OF_A_BUNDLE = ("model", "intensity", "weights", *[f"data.{key}" for key in _SEEN])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chosen:
    """What a bundle, or a model with its weights, decides of an evaluation; fields as of `PromptEvaluation`."""

    model: nn.Module
    preparation: Preparation
    cases: Sequence[Case]
    neighbours: int
    unprompted: Sequence[str] | None = None
    trained: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate_prompts", evaluate_prompts)


def evaluate_prompts(config: DictConfig) -> None:
    """Evaluate a model by a config, in Hydra's run directory; print tables and say where the files are."""
    from hydra.core.hydra_config import HydraConfig

    from segfocal.evaluate.prompts.evaluate import evaluate_prompts as evaluate_model

    config = config if config.bundle else with_geometry(config)
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        evaluation = _evaluation(plain, folder, HydraConfig.get().overrides.task)
    except (ValueError, TypeError) as error:
        raise UserError(expected="a config that fits together", found=str(error), do="change that option") from error
    if plain["volumes"]:
        _evaluate_volumes(evaluation)
        print(f"results: {shown_path(folder)}")
        return
    summaries, notes = evaluate_model(evaluation, showing=_with_progress)
    prompts = [str(prompt) for prompt in evaluation.protocol.prompts]
    shown = {
        "Dice": [(summary, summary.dice, summary.dice_low, summary.dice_high) for summary in summaries],
        "IoU": [(summary, summary.iou, summary.iou_low, summary.iou_high) for summary in summaries],
    }
    for title, values in shown.items():
        print(f"{title}, and its 95 % bootstrap interval over {summaries[0].over}")
        print_table(_table(values, prompts))
    for note in notes:
        print(visible(note))
    print(f"results: {shown_path(folder)}")


def _evaluate_volumes(evaluation: PromptEvaluation) -> None:
    """Evaluate on whole volumes and print a table."""
    from segfocal.evaluate.prompts.volumes import evaluate_volumes

    summaries = evaluate_volumes(evaluation, showing=partial(_with_progress, noun="structure"))
    print("Dice and NSD of whole volumes: after a box, mean height over five clicks, after the last")
    print_table([_volume_line(summary) for summary in summaries])


def _volume_line(summary: VolumeSummary) -> dict[str, Any]:
    """Return the cells of a structure."""
    line: dict[str, Any] = {"structure": summary.structure, "trained": "yes" if summary.trained else "no"}
    for key, value in asdict(summary).items():
        if isinstance(value, float):
            line[key.replace("_", " ")] = f"{value:.3f}" if key != "seconds" else f"{value:.2f}"
    return line


def _with_progress(parts: Sequence[T], *, noun: str = "batch") -> Iterator[T]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=len(parts), done=0, noun=noun) as progress:
        for done, part in enumerate(parts, start=1):
            yield part
            progress.step(done, "prompts answered")


def _evaluation(plain: dict[str, Any], folder: Path, overrides: Sequence[str]) -> PromptEvaluation:
    """Build the record of a config; ValueError or UserError for what does not fit together."""
    from segfocal.evaluate.prompts.options import PromptEvaluation
    from segfocal.evaluate.prompts.protocol import Protocol
    from segfocal.inference.prompted.propagation_options import PropagationOptions

    protocol = Protocol(**{field.name: plain[field.name] for field in fields(Protocol)})
    chosen = _from_bundle(plain, overrides) if plain["bundle"] else _from_weights(plain)
    data, weights = plain["data"], plain["model"].get("weights")
    read = (data["root"], data.get("label_names"), data.get("splits"), plain["bundle"], weights)
    return PromptEvaluation(
        model=chosen.model,
        preparation=chosen.preparation,
        cases=chosen.cases,
        neighbours=chosen.neighbours,
        unprompted=chosen.unprompted,
        facts={**chosen.facts, "data": str(plain["data"]["root"]), "split": plain["split"]},
        protocol=protocol,
        output=folder,
        cache=Path(plain["cache"]),
        embeddings=Path(plain["embeddings"]) if plain["embeddings"] else None,
        batch_size=plain["batch_size"],
        device=plain["device"],
        overwrite=plain["overwrite"],
        read=[place for place in read if isinstance(place, str)],
        trained=chosen.trained,
        propagation=PropagationOptions(**plain["propagate"]),
    )


def _from_bundle(plain: dict[str, Any], overrides: Sequence[str]) -> _Chosen:
    """Return what a bundle decides; UserError for options that it overrules."""
    from segfocal.data.structures import choose_structures
    from segfocal.device import choose_device
    from segfocal.inference import bundle as bundles
    from segfocal.inference.predictor import on_engine
    from segfocal.inference.segment import check_channels

    for option in overrides:
        name = option.lstrip("+~").split("=")[0].split("@")[0]
        if any(name == of or name.startswith(f"{of}.") for of in _OF_A_BUNDLE):
            raise UserError(
                expected="a bundle, which brings its own model, intensity, spacing and window",
                found=f"{option} besides",
                do="leave that option or bundle out",
            )
    bundle = bundles.load(plain["bundle"])
    own = [structure.name for structure in bundle.structures]
    cases = listed_cases(plain["data"])
    check_channels(bundle, channels_of(cases), f" in {plain['data']['root']}", do="choose another data set or bundle")
    structures = bundle.structures
    if plain["target"] is not None:
        structures = choose_structures(plain["target"], cases.label_values, overlap=bool(plain["data"].get("overlap")))
    elif cases.label_values:
        known = cases.label_values
        target = [s.name if s.name in known or not s.of else {s.name: list(s.of)} for s in structures]
        structures = choose_structures(target, known, overlap=structures[0].overlaps)
    cases = split_cases(plain, cases, structures)
    chosen, preparation = _prepared(plain, cases, structures, grid=bundle.grid, intensity=bundle.intensity)
    return _Chosen(
        model=on_engine(bundle, plain["engine"], device=choose_device(plain["device"])),
        preparation=preparation,
        cases=chosen,
        neighbours=bundle.neighbours,
        unprompted=[] if bundle.needs_prompts else own,
        trained=own,
        facts={"bundle": str(Path(plain["bundle"]).resolve()), "model": bundle.model_config},
    )


def _from_weights(plain: dict[str, Any]) -> _Chosen:
    """Return what a model with a file of weights decides: zero-shot."""
    from segfocal.evaluate.prompts.evaluate import check_promptable

    if plain["engine"] not in ("auto", "torch"):
        raise UserError(
            expected="engine=auto or torch without a bundle", found=f"engine={plain['engine']}", do="leave it out"
        )
    if plain["target"] is None:
        raise UserError(expected="target=NAME without a bundle", found="target=null", do="name structures of the data")
    cases, structures = cases_of(plain)
    window = pair(plain["data"]["window"], "data.window", int)
    neighbours = neighbours_of(plain["data"])
    channels = channels_of(cases) * (2 * neighbours + 1)
    check_batch_fits(plain["batch_size"], channels, window)
    model, config = build_model(plain, classes=len(structures), channels=channels, window=window)
    check_promptable(model)
    if plain["model"].get("weights", "") is None:
        raise UserError(
            expected="a trained model: bundle=FOLDER, or model.weights=FILE",
            found="neither, so random numbers",
            do="give one of them",
        )
    weights = first_weights({**plain, "resume": None}, model)
    if weights:
        print(visible(str(weights)))
    grid = grid_of(plain["data"], cases)
    intensity = intensity_of(plain["intensity"], cases)
    chosen, preparation = _prepared(plain, cases, structures, grid=grid, intensity=intensity)
    return _Chosen(
        model=model,
        preparation=preparation,
        cases=chosen,
        neighbours=neighbours,
        facts={"weights": weights.row() if weights else None, "model": config},
    )


def _prepared(
    plain: dict[str, Any],
    cases: CaseList,
    structures: tuple[Structure, ...],
    *,
    grid: ModelGrid,
    intensity: Intensity,
) -> tuple[Sequence[Case], Preparation]:
    """Return the cases of the split to evaluate on, and how they are prepared."""
    from segfocal.data.case import SPLITS
    from segfocal.data.label_scheme import OBJECTS
    from segfocal.data.mask_files import with_target
    from segfocal.data.store.prepared_case import Preparation

    split, root = plain["split"], plain["data"]["root"]
    if split not in ("all", *SPLITS):
        raise ValueError(f"expected split train, val, test or all; got {split!r}")
    chosen = cases.cases if split == "all" else cases.of(split)
    if not chosen:
        raise UserError(expected=f"cases of the split {split}", found="none", where=root, do="choose another split")
    apart = structures[0].name == OBJECTS
    judged = replace(cases, cases=tuple(replace(case, split="test") for case in chosen))  # none is to train on
    judged, structures = with_target(judged, structures, by_object=apart)
    return judged.cases, Preparation(structures=structures, by_object=apart, grid=grid, intensity=intensity)


def _table(
    values: Sequence[tuple[PromptSummary, float, float | None, float | None]], prompts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a line for each structure with a column for each prompt: the mean, and the interval below it."""
    lines: dict[str, dict[str, Any]] = {}
    for summary, mean, low, high in values:
        name = summary.structure
        empty = {"structure": name, "slices": summary.slices, **dict.fromkeys(map(_shown, prompts), "–")}
        line = lines.setdefault(name, empty)
        interval = "" if low is None else f"\n{low:.3f}–{high:.3f}"
        line[_shown(summary.prompt)] = f"{mean:.3f}{interval}"
    return list(lines.values())


def _shown(prompt: str) -> str:
    return f"{prompt} click{'s' * (prompt != '1')}" if prompt.isdecimal() else prompt
