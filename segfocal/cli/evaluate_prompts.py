"""`segfocal evaluate-prompts`: a promptable model and labelled scans in, Dice by kind of prompt out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.data_options import (
    cases_of,
    channels_of,
    grid_of,
    intensity_of,
    listed_cases,
    neighbours_of,
    pair,
    split_cases,
)
from segfocal.cli.evaluate import print_table
from segfocal.cli.train import build_model
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.data.case import CaseList
    from segfocal.evaluate.prompts.evaluate import PromptEvaluation
    from segfocal.structure import Structure

_SEEN = ("frame", "spacing_mm", "size", "window", "neighbours")
_OF_A_BUNDLE = ("model", "intensity", "weights", *[f"data.{key}" for key in _SEEN])


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate_prompts", evaluate_prompts)


def evaluate_prompts(config: DictConfig) -> None:
    """Ask and score a model by a config, in Hydra's run directory; print tables and say where the files are."""
    from hydra.core.hydra_config import HydraConfig

    from segfocal.evaluate.prompts.evaluate import evaluate_prompts as evaluate_model

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        evaluation = _evaluation(plain, folder, HydraConfig.get().overrides.task)
    except (ValueError, TypeError) as error:
        raise UserError(expected="a config that fits together", found=str(error), do="change that option") from error
    rows, left_out = evaluate_model(evaluation, showing=_with_progress)
    prompts = [str(prompt) for prompt in evaluation.protocol.prompts]
    for name, title in (("dice", "Dice"), ("iou", "IoU")):
        print(f"{title}, and its 95 % bootstrap interval over {rows[0]['over']}")
        print_table(_table(rows, name, prompts))
    for note in left_out:
        print(note)
    print(f"results: {shown_path(folder)}")


def _with_progress(batches: Sequence[Any]) -> Iterator[Any]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=len(batches), done=0) as progress:
        for done, batch in enumerate(batches, start=1):
            yield batch
            progress.step(done, "prompts asked")


def _evaluation(plain: dict[str, Any], folder: Path, overrides: Sequence[str]) -> PromptEvaluation:
    """Build everything from a config."""
    from segfocal.evaluate.prompts.evaluate import PromptEvaluation
    from segfocal.evaluate.prompts.protocol import Protocol

    protocol = Protocol(**{field.name: plain[field.name] for field in fields(Protocol)})
    if not isinstance(plain["batch_size"], int) or plain["batch_size"] < 1:
        raise ValueError(f"expected batch_size ≥ 1; got {plain['batch_size']!r}")
    source = _from_bundle(plain, overrides) if plain["bundle"] else _from_weights(plain)
    source["facts"] |= {"data": str(plain["data"]["root"]), "split": plain["split"]}
    return PromptEvaluation(
        **source,
        protocol=protocol,
        output=folder,
        cache=Path(plain["cache"]),
        embeddings=Path(plain["embeddings"]) if plain["embeddings"] else None,
        batch_size=plain["batch_size"],
        device=plain["device"],
        overwrite=plain["overwrite"],
    )


def _from_bundle(plain: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the parts of an evaluation that a bundle decides; UserError for options that it overrules."""
    from segfocal.data.structures import choose_structures
    from segfocal.inference import bundle as bundles
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
    return {
        "model": bundle.model,
        **_asked(plain, cases, structures, grid=bundle.grid, intensity=bundle.intensity),
        "neighbours": bundle.neighbours,
        "unasked": [] if bundle.needs_prompts else own,
        "facts": {"bundle": str(Path(plain["bundle"]).resolve()), "model": bundle.model_config},
    }


def _from_weights(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an evaluation for a model that was not trained here: zero-shot."""
    from segfocal.evaluate.prompts.evaluate import check_promptable

    if plain["target"] is None:
        raise UserError(expected="target=NAME without a bundle", found="target=null", do="name structures of the data")
    cases, structures = cases_of(plain)
    window = pair(plain["data"]["window"], "data.window", int)
    neighbours = neighbours_of(plain["data"])
    channels = channels_of(cases) * (2 * neighbours + 1)
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
        print(weights)
    grid = grid_of(plain["data"], cases)
    return {
        "model": model,
        **_asked(plain, cases, structures, grid=grid, intensity=intensity_of(plain["intensity"], cases)),
        "neighbours": neighbours,
        "facts": {"weights": weights.row() if weights else None, "model": config},
    }


def _asked(plain: dict[str, Any], cases: CaseList, structures: tuple[Structure, ...], **seen: Any) -> dict[str, Any]:
    """Return the cases of the split that was asked for, and how they are prepared."""
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
    return {"cases": judged.cases, "preparation": Preparation(structures=structures, by_object=apart, **seen)}


def _table(rows: Sequence[Mapping[str, Any]], name: str, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """Return a line for each structure with a column for each prompt: the mean, and the interval below it."""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        empty = {"structure": row["structure"], "slices": row["slices"], **dict.fromkeys(map(_shown, prompts), "–")}
        line = lines.setdefault(row["structure"], empty)
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        interval = "" if low is None else f"\n{low:.3f}–{high:.3f}"
        line[_shown(row["prompt"])] = f"{row[name]:.3f}{interval}"
    return list(lines.values())


def _shown(prompt: str) -> str:
    return f"{prompt} click{'s' * (prompt != '1')}" if prompt.isdecimal() else prompt
