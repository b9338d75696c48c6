"""`segfocal evaluate-prompts`: a promptable model and labelled scans in, Dice by kind of prompt out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.evaluate import print_table
from segfocal.cli.train import build_model, pair
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.batch import Structure
    from segfocal.data.cases import Case, CaseList
    from segfocal.serve.evaluate_prompts import PromptEvaluation

_OF_A_BUNDLE = ("model", "intensity", "weights", "data.frame", "data.spacing_mm", "data.window")


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate_prompts", evaluate_prompts)


def evaluate_prompts(config: DictConfig) -> None:
    """Ask and score a model by a config, in Hydra's run directory; print tables and say where the files are."""
    from hydra.core.hydra_config import HydraConfig

    from segfocal.serve.evaluate_prompts import evaluate_prompts as evaluate_model

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


def _evaluation(plain: Mapping[str, Any], folder: Path, overrides: Sequence[str]) -> PromptEvaluation:
    """Build everything from a config."""
    from segfocal.data.cases import hold_out, read_cases
    from segfocal.serve.evaluate_prompts import PromptEvaluation
    from segfocal.serve.prompt_protocol import Protocol

    protocol = Protocol(**{field.name: plain[field.name] for field in fields(Protocol)})
    if not isinstance(plain["batch_size"], int) or plain["batch_size"] < 1:
        raise ValueError(f"expected batch_size ≥ 1; got {plain['batch_size']!r}")
    data = plain["data"]
    listed = read_cases(data["root"], label_names=data["label_names"])
    cases = hold_out(listed, share=data["hold_out"], seed=data["split_seed"])
    chosen = _of_split(cases, plain["split"], data["root"])
    source = _from_bundle(plain, cases, overrides) if plain["bundle"] else _from_weights(plain, cases)
    source["facts"] |= {"data": str(data["root"]), "split": plain["split"]}
    return PromptEvaluation(
        **source,
        cases=chosen,
        protocol=protocol,
        output=folder,
        cache=Path(plain["cache"]),
        embeddings=Path(plain["embeddings"]) if plain["embeddings"] else None,
        batch_size=plain["batch_size"],
        device=plain["device"],
        overwrite=plain["overwrite"],
    )


def _of_split(cases: CaseList, split: str, root: str) -> list[Case]:
    from segfocal.data.cases import SPLITS

    if split not in ("all", *SPLITS):
        raise ValueError(f"expected split train, val, test or all; got {split!r}")
    chosen = list(cases.cases) if split == "all" else cases.of(split)
    if not chosen:
        raise UserError(expected=f"cases of the split {split}", found="none", where=root, do="choose another split")
    return chosen


def _from_bundle(plain: Mapping[str, Any], cases: CaseList, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the parts of an evaluation that a bundle decides; UserError for options that it overrules."""
    from segfocal.data.prepared import Preparation
    from segfocal.data.structures import choose_structures
    from segfocal.inference import bundle as bundles

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
    structures: tuple[Structure, ...] = bundle.structures
    if plain["target"] is not None or cases.label_values:
        structures = choose_structures(own if plain["target"] is None else plain["target"], cases.label_values)
    return {
        "model": bundle.model,
        "preparation": Preparation(grid=bundle.grid, intensity=bundle.intensity, structures=structures),
        "unasked": [] if bundle.needs_prompts else own,
        "facts": {"bundle": str(Path(plain["bundle"]).resolve()), "model": bundle.model_config},
    }


def _from_weights(plain: Mapping[str, Any], cases: CaseList) -> dict[str, Any]:
    """Return the parts of an evaluation for a model that was not trained here: zero-shot."""
    from segfocal import intensity
    from segfocal.data.prepared import Preparation
    from segfocal.data.structures import choose_structures
    from segfocal.resample import ModelGrid
    from segfocal.serve.evaluate_prompts import check_promptable

    if plain["target"] is None:
        raise UserError(expected="target=NAME without a bundle", found="target=null", do="name structures of the data")
    data = plain["data"]
    structures = choose_structures(plain["target"], cases.label_values)
    spacing = None if data["spacing_mm"] is None else pair(data["spacing_mm"], "data.spacing_mm", float)
    window = pair(data["window"], "data.window", int)
    model, config = build_model(dict(plain), classes=len(structures), window=window)
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
    return {
        "model": model,
        "preparation": Preparation(
            grid=ModelGrid(frame=data["frame"], spacing_mm=spacing),
            intensity=intensity.build(plain["intensity"]),
            structures=structures,
        ),
        "facts": {"weights": weights.row() if weights else None, "model": config},
    }


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
