"""What a cross-validation leaves: out-of-fold masks judged, tables and a page, and a summary in nnU-Net's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from segfocal.data.case import Case
from segfocal.data.store.prepare import read_pair
from segfocal.evaluate.case_metrics import CaseMetrics
from segfocal.evaluate.judge import JudgedCase, judge_or_note
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.results import SUMMARY, write_results
from segfocal.evaluate.summary import summarise
from segfocal.files import make_folder, write_json
from segfocal.inference.bundle import Bundle
from segfocal.inference.model_card import CardMetric, CardResults
from segfocal.io import nifti
from segfocal.io.png import is_png
from segfocal.predict.options import OutputOptions, PredictOptions
from segfocal.predict.predict import predict

PREDICTIONS, REFERENCES, EVALUATION = "predictions", "references", "evaluation"
_ON_CARDS = ("dice", "hd95_mm", "nsd", "lesion_recall", "lesion_precision")


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """A case, and the bundle that never saw it.

    Args:
        case: the case.
        bundle: its folder.
        fold: its number.
    """

    case: Case
    bundle: Path
    fold: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a cross-validation found.

    Args:
        judged: every case that a model judged which never saw it.
        dice: mean over structures and cases.
        facts: what else the summary says.
    """

    judged: Sequence[JudgedCase]
    dice: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def predict_and_judge(
    cases: Sequence[OutOfFold], like: Bundle, folder: Path, *, ignored: int | None = None
) -> list[JudgedCase]:
    """Write the mask of every case by the bundle that never saw it, and judge it by the case's label.

    Args:
        cases: each with its bundle.
        like: a bundle of the same structures as all.
        folder: of the cross-validation.
        ignored: label value of voxels that are not judged.
    """
    settings = EvaluationSettings(labels={s.name: s.value for s in like.structures}, ignore=ignored)
    judged = []
    for each in cases:
        mask = folder / PREDICTIONS / (each.case.name + (".png" if is_png(each.case.image) else ".nii.gz"))
        make_folder(mask.parent)
        outputs = OutputOptions(mask=mask, overwrite=True)
        predict(PredictOptions(bundles=(each.bundle,), inputs=each.case.images, outputs=outputs))
        files = CaseFiles(
            name=each.case.name,
            reference=_reference(each.case, folder),
            prediction=mask,
            image=each.case.image,
        )
        judged.append(judge_or_note(files, settings, compared=False, ranked=False))
    if not judged:
        return []
    evaluation = MaskEvaluation(
        prediction=folder / PREDICTIONS,
        reference=folder,
        output=folder / EVALUATION,
        settings=settings,
        overwrite=True,
    )
    write_results(judged, evaluation, unmatched=[])
    return judged


def _reference(case: Case, folder: Path) -> Path:
    """Return the file of a case's label map as training saw it: written where the label is another kind of file."""
    plain = case.masks is None and case.label.name.endswith((".nii", ".nii.gz", ".png"))
    if plain and not any(structure.of for structure in case.scheme.structures):
        return case.label
    path = folder / REFERENCES / f"{case.name}.nii.gz"
    make_folder(path.parent)
    labels = read_pair(case)[1]
    nifti.write(path, labels, like=labels.grid, overwrite=True)
    return path


def mean_dice(judged: Sequence[JudgedCase]) -> float:
    """Return the mean Dice over cases and structures; of a case that failed it is 0."""
    found = [[m.dice for m in case.metrics] or [0.0] for case in judged]
    return fmean(dice for case in found for dice in case) if found else 0.0


def card_results(judged: Sequence[JudgedCase], folder: Path, *, chosen_on: bool) -> CardResults:
    """Return what the evaluation has summed up as a model card has it.

    Args:
        judged: every case.
        folder: of the cross-validation.
        chosen_on: whether thresholds or rules were chosen by the same cases.
    """
    metrics = [
        CardMetric(
            structure=summary.structure,
            metric=name,
            cases=summary.cases,
            mean=summary.metrics[name].mean,
            low=summary.metrics[name].low,
            high=summary.metrics[name].high,
        )
        for summary in summarise([metrics for case in judged for metrics in case.metrics])
        for name in _ON_CARDS
        if name in summary.metrics
    ]
    how = "Out of fold: each case was judged by the one model that has not seen it."
    how += " Thresholds and rules were chosen on these cases together, which flatters a little." if chosen_on else ""
    return CardResults(metrics=metrics, source=folder / EVALUATION / SUMMARY, how=how)


def write_summary(folder: Path, outcome: Outcome) -> None:
    """Write `summary.json` with the keys of nnU-Net's, and what else is known under “cross_validation”.

    Source: the keys are those of nnU-Net v2's evaluate_predictions.py: metric_per_case, mean, foreground_mean.
    """
    by_label: dict[str, list[dict[str, float]]] = {}
    cases: list[dict[str, Any]] = []
    for case in outcome.judged:
        metrics = {str(found.label): _of_nnunet(found) for found in case.metrics}
        files = {"prediction_file": str(case.files.prediction), "reference_file": str(case.files.reference)}
        cases.append({"metrics": metrics, **files})
        for label, row in metrics.items():
            by_label.setdefault(label, []).append(row)
    means = {label: _mean_of(by_label[label]) for label in sorted(by_label, key=int)}
    write_json(
        folder / "summary.json",
        {
            "foreground_mean": _mean_of(list(means.values())) if means else {},
            "mean": means,
            "metric_per_case": cases,
            "cross_validation": {"dice": round(outcome.dice, 4), **outcome.facts},
        },
    )


def _of_nnunet(metrics: CaseMetrics) -> dict[str, float]:
    return {
        "Dice": metrics.dice,
        "FN": metrics.fn,
        "FP": metrics.fp,
        "IoU": metrics.iou,
        "TN": metrics.tn,
        "TP": metrics.tp,
        "n_pred": metrics.tp + metrics.fp,
        "n_ref": metrics.tp + metrics.fn,
    }


def _mean_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}
