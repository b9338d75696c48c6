"""The walk of an evaluation on volumes: a box and clicks about each structure of each case, scored and summed up."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import torch

import segfocal
from segfocal.data.case import Case
from segfocal.data.cases import files_read
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import PreparedCase
from segfocal.device import choose_device
from segfocal.evaluate.prompts.evaluate import check_promptable
from segfocal.evaluate.prompts.options import PromptEvaluation
from segfocal.evaluate.prompts.volume_protocol import VolumeAsker, volume_answers
from segfocal.files import claim, make_folder, write_json, write_table
from segfocal.io import volumes
from segfocal.metrics.surface_distances import SurfaceDistances
from segfocal.report.plots import draw_volume_clicks

SCORES, TABLE, SUMMARY, PICTURE = "volume_scores.csv", "volumes.csv", "volumes.json", "volumes.png"
TOLERANCE_MM = 2.0
MEAN_TRAINED, MEAN_OTHERS = "mean of trained", "mean of others"

Asked = tuple[PreparedCase, int]  # a case, and which of the structures


@dataclass(frozen=True, kw_only=True)
class VolumeScore:
    """How well one prompt about one structure of one case was answered; the columns of volume_scores.csv.

    Args:
        case: its name.
        structure: its name.
        trained: whether the model was trained on a structure of that name.
        clicks: given after the box, from 0.
        dice: of the whole volume.
        nsd: at 2 mm.
        seconds: from the prompt to the mask.
    """

    case: str
    structure: str
    trained: bool
    clicks: int
    dice: float
    nsd: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class VolumeSummary:
    """How well a structure was answered on average over cases; the columns of volumes.csv.

    Args:
        structure: its name, or a mean over those that were trained or those that were not.
        trained: whether the model was trained on it.
        cases: that hold it.
        dice_box: Dice after the box.
        dice_auc: mean height of the curve of Dice over the clicks, in [0,1]; the challenge's area is four times that.
        dice_final: Dice after the last click.
        nsd_box: likewise.
        nsd_auc: likewise.
        nsd_final: likewise.
        seconds: mean of all answers.
    """

    structure: str
    trained: bool
    cases: int
    dice_box: float
    dice_auc: float
    dice_final: float
    nsd_box: float
    nsd_auc: float
    nsd_final: float
    seconds: float


def evaluate_volumes(
    evaluation: PromptEvaluation, *, showing: Callable[[list[Asked]], Iterable[Asked]] = iter
) -> list[VolumeSummary]:
    """Write volume_scores.csv, volumes.csv, volumes.json and volumes.png; return a summary for each structure.

    `showing` wraps what is asked about, for a progress bar.

    Raises:
        UserError: results that exist, a model that takes no prompts, unreadable files.
    """
    started, output = time.monotonic(), evaluation.output
    model = check_promptable(evaluation.model)
    results = [output / name for name in (SCORES, TABLE, SUMMARY, PICTURE)]
    claim(results, files_read(evaluation.cases, *evaluation.read), overwrite=evaluation.overwrite)
    make_folder(output)
    device = choose_device(evaluation.device)
    prepared = prepare(evaluation.cases, evaluation.preparation, evaluation.cache)
    model.to(device).eval().requires_grad_(False)
    asked = [(case, k) for case in prepared for k in np.flatnonzero(case.pixels.sum(1)).tolist()]
    cases = {case.name: case for case in evaluation.cases}
    scores: list[VolumeScore] = []
    for case, k in showing(asked):
        scores += _scores(case, cases[case.name], k, evaluation, device)
    summaries = summarise_volumes(scores)
    facts = {
        "segfocal": segfocal.__version__,
        **evaluation.facts,
        "cases": [case.name for case in prepared],
        "trained": list(evaluation.trained),
        "propagate": asdict(evaluation.propagation),
        "tolerance_mm": TOLERANCE_MM,
        "device": str(device),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_table(output / SCORES, [asdict(score) for score in scores])
    write_table(output / TABLE, [asdict(summary) for summary in summaries])
    write_json(output / SUMMARY, {**facts, "scores": [asdict(summary) for summary in summaries]})
    curves = {name: curve(scores, name) for name in dict.fromkeys(score.structure for score in scores)}
    draw_volume_clicks(output / PICTURE, curves, dashed={score.structure for score in scores if not score.trained})
    return summaries


def _scores(
    prepared: PreparedCase, case: Case, k: int, evaluation: PromptEvaluation, device: torch.device
) -> list[VolumeScore]:
    """Return the scores of one structure of one case."""
    structure = evaluation.preparation.structures[k]
    parts = [prepared.slice(z, neighbours=evaluation.neighbours) for z in range(prepared.shape[0])]
    image = torch.from_numpy(np.stack([part for part, _ in parts], axis=1))
    truth = np.stack([prepared.scheme.target(codes)[k] == 1 for _, codes in parts])
    grid = evaluation.preparation.grid.of(volumes.read_grid(case.image))
    spacing_mm = (grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[2])
    asker = VolumeAsker(
        model=check_promptable(evaluation.model),
        image=image,
        spacing_mm=spacing_mm,
        options=evaluation.propagation,
        device=device,
        batch_size=evaluation.batch_size,
    )
    scores = []
    for clicks, (answer, seconds) in enumerate(volume_answers(asker, truth)):
        both, sizes = int((answer & truth).sum()), int(answer.sum()) + int(truth.sum())
        nsd = SurfaceDistances.between(answer, truth, spacing_mm).nsd(TOLERANCE_MM)
        scores.append(
            VolumeScore(
                case=prepared.name,
                structure=structure.name,
                trained=structure.name in evaluation.trained,
                clicks=clicks,
                dice=2 * both / sizes,
                nsd=nsd,
                seconds=round(seconds, 3),
            )
        )
    return scores


def summarise_volumes(scores: Sequence[VolumeScore]) -> list[VolumeSummary]:
    """Return a summary of each structure over its cases, then the means of the trained ones and of the others."""
    by_structure: dict[str, list[VolumeScore]] = defaultdict(list)
    for score in scores:
        by_structure[score.structure].append(score)
    summaries = [_summary(name, own) for name, own in by_structure.items()]
    for name, trained in ((MEAN_TRAINED, True), (MEAN_OTHERS, False)):
        own = [summary for summary in summaries if summary.trained == trained]
        if own and len(summaries) > 1:
            numbers: dict[str, Any] = {key: fmean(getattr(one, key) for one in own) for key in _NUMBERS}
            cases = len({score.case for score in scores if score.trained == trained})
            summaries.append(VolumeSummary(structure=name, trained=trained, cases=cases, **numbers))
    return summaries


_NUMBERS = ("dice_box", "dice_auc", "dice_final", "nsd_box", "nsd_auc", "nsd_final", "seconds")


def _summary(name: str, scores: Sequence[VolumeScore]) -> VolumeSummary:
    numbers: dict[str, Any] = {"seconds": fmean(score.seconds for score in scores)}
    for metric in ("dice", "nsd"):
        values = [value for _, value in _means(scores, metric)]
        clicked = values[1:]
        height = fmean((one + other) / 2 for one, other in pairwise(clicked))  # of the trapezoids between clicks
        numbers |= {f"{metric}_box": values[0], f"{metric}_auc": height, f"{metric}_final": values[-1]}
    return VolumeSummary(
        structure=name, trained=scores[0].trained, cases=len({score.case for score in scores}), **numbers
    )


def _means(scores: Sequence[VolumeScore], metric: str) -> list[tuple[int, float]]:
    """Return numbers of clicks and the mean over cases of a metric."""
    by_clicks: dict[int, list[float]] = defaultdict(list)
    for score in scores:
        by_clicks[score.clicks].append(getattr(score, metric))
    return [(clicks, fmean(values)) for clicks, values in sorted(by_clicks.items())]


def curve(scores: Sequence[VolumeScore], structure: str) -> tuple[list[int], list[float]]:
    """Return numbers of clicks and Dice after them, of a structure."""
    numbers, values = zip(*_means([score for score in scores if score.structure == structure], "dice"), strict=True)
    return list(numbers), list(values)
