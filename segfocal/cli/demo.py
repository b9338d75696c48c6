"""`segfocal demo`: the main job from end to end on the demo scans, and one page that shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segfocal.cli.app import run, shown_path
from segfocal.cli.geometry_options import run_to_resume, with_geometry
from segfocal.cli.resume import AUTO, RunRequest, files_of_plan
from segfocal.cli.train import prompt_words, train_in
from segfocal.cli.training_plan import build_plan
from segfocal.errors import UserError
from segfocal.plain_names import fit_name
from segfocal.plain_text import visible
from segfocal.typed_words import line, option

if TYPE_CHECKING:
    from segfocal.data.case import Case
    from segfocal.engine.plan import Plan

_NOTES = (
    "The demo labels are predictions of the TotalSegmentator model, not drawn by hand (see README.md beside them).",
    "One scan to train on and one to judge by: a demonstration that the pipeline works, not a clinical result.",
    "“box” prompts every slice with the bounding box of the reference, which a user would have to draw.",
    "The held-out scan chose no checkpoint (the bundle holds the last weights), but the defaults were settled on it.",
)


def main() -> int:
    """Run the command; return its exit code."""
    return run("demo", demo)


def demo(config: DictConfig) -> None:
    """Train, predict the held-out scan without and with boxes, evaluate, and write the page."""
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    config = with_geometry(config, resumes=run_to_resume(config.resume, folder))
    plan = build_plan(config)
    if not plan.cases.of("val"):
        raise UserError(
            expected="a validation case to show", found="none", where=plan.where, do="give one the split val"
        )
    case = plan.cases.of("val")[0]
    request = RunRequest(folder=folder, overwrite=config.overwrite, automatic=config.resume == AUTO)
    claim_files(plan, request)
    facts = train_in(plan, request)
    prompts = sorted({score["prompt"] for score in facts["scores"]}, reverse=True)
    rows = [_predicted(case, prompt, folder) for prompt in prompts]
    _write_page(config, facts, case, rows, folder)
    print(f"mask:   {shown_path(_mask(case, prompts[0], folder))}")
    print(f"bundle: {shown_path(folder / 'bundle')}")
    print(f"report: {shown_path(folder / 'report.html')}")
    for row in rows:
        print(visible(f"{row['structure']} Dice, {row['prompt']}: {row['dice']:.3f}"))


def claim_files(plan: Plan, request: RunRequest) -> list[Path]:
    """Return masks and page, the files beside those of the run, which train_in claims.

    Raises:
        UserError: one would replace a file that is no demo's or, whatever overwrite says, one that is read.
    """
    from segfocal.compare.runs import RUN_FILE
    from segfocal.files import claim
    from segfocal.predict.outputs import report_path

    masks = [_mask(plan.cases.of("val")[0], prompt, request.folder) for prompt in ("none", "box")]
    written = [request.folder / "report.html", *masks, *map(report_path, masks)]
    is_demo = (request.folder / RUN_FILE).is_file()
    claim(written, files_of_plan(plan), overwrite=request.overwrite or is_demo, folders=map(_judged, masks))
    return written


def _mask(case: Case, prompt: str, folder: Path) -> Path:
    name = fit_name(case.name)
    return folder / (f"{name}_mask.nii.gz" if prompt == "none" else f"{name}_mask_{prompt}.nii.gz")


def _predicted(case: Case, prompt: str, folder: Path) -> dict[str, Any]:
    """Write the mask for one kind of prompt, and judge it; return the metrics of the first structure."""
    from segfocal.evaluate.evaluate import evaluate
    from segfocal.evaluate.options import MaskEvaluation
    from segfocal.predict.options import OutputOptions, PredictOptions, PromptKind, PromptOptions
    from segfocal.predict.predict import predict

    mask = _mask(case, prompt, folder)
    boxes = PromptOptions(file=case.label, kind=PromptKind.LABEL_BOXES)
    predict(
        PredictOptions(
            bundles=(folder / "bundle",),
            inputs=case.images,
            outputs=OutputOptions(mask=mask, overwrite=True),
            prompts=boxes if prompt == "box" else None,
        )
    )
    judged = evaluate(MaskEvaluation(prediction=mask, reference=case.label, output=_judged(mask), overwrite=True))
    return {"prompt": prompt_words(prompt), **judged[0].rows()[0]}


def _judged(mask: Path) -> Path:
    return mask.with_name(mask.name.removesuffix(".nii.gz") + "_evaluation")


def _write_page(
    config: DictConfig, facts: dict[str, Any], case: Case, rows: list[dict[str, Any]], folder: Path
) -> None:
    from segfocal.report.html import Picture
    from segfocal.report.run_page import RunPage, write_run_page

    pictures = [Picture(path=folder / "loss.png", caption="Loss terms, unweighted, and Dice on the held-out scan")]
    for row in rows:
        picture = _judged(folder / row["case"]) / "overlay.png"
        pictures.append(Picture(path=picture, caption=f"{case.name}, {row['prompt']}"))
    structure = rows[0]["structure"]
    page = RunPage(
        title=f"segfocal demo: {structure} in CT",
        headlines={f"{structure} Dice, {row['prompt']}": f"{row['dice']:.3f}" for row in rows},
        facts={
            "model": f"{config.model._target_}, {facts['parameters']:,} parameters",
            "loss": " + ".join(f"{weight}·{name}" for name, weight in config.loss.weights.items()),
            "training": f"{facts['steps']} steps of {config.train.batch_size} samples, {facts['seconds']:.0f} s in all",
            "seed": str(config.seed),
        },
        rows=rows,
        pictures=pictures,
        commands=_commands(case, folder, prompts=[row["prompt"] for row in rows]),
        notes=_NOTES,
    )
    write_run_page(page, folder / "report.html")


def _commands(case: Case, folder: Path, prompts: list[str]) -> list[str]:
    """Return the command lines that do the same by hand."""
    image, label, place = shown_path(case.image), shown_path(case.label), shown_path(folder)
    again = [option("hydra.run.dir", place), "overwrite=true"]
    typed = [argument for argument in sys.argv[1:] if not argument.startswith("hydra.")]
    commands = [["train", *again, *typed]]
    for prompt in prompts:
        kind = "none" if prompt == "no prompt" else prompt
        mask = shown_path(_mask(case, kind, folder))
        asked = ["prompt=box", option("prompts", label)] if kind == "box" else []
        places = [option("bundle", f"{place}/bundle"), option("input", image), option("output", mask)]
        commands.append(["predict", *places, *asked, "overwrite=true"])
        commands.append(["evaluate", option("prediction", mask), option("reference", label), "overwrite=true"])
    return [line(["segfocal", *words]) for words in commands]
