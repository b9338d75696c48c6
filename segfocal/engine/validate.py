"""Validation on whole held-out volumes, at the scans' own resolution: what counts is this, not the score of patches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from segfocal.data.case import Case
from segfocal.data.ignore_label import ignored_in, without_ignored
from segfocal.data.store.prepare import read_pair
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.scan_prompts import ScanPrompts
from segfocal.inference.prompted.slice_boxes import boxes_from_labels
from segfocal.inference.segment import segment
from segfocal.losses.links import margins
from segfocal.metrics import Counts, RankHistogram, count, hausdorff95
from segfocal.models import PromptableModel
from segfocal.plain_names import fit_name
from segfocal.report.case_picture import CasePicture, draw_largest

_PICTURES = 100


@dataclass(frozen=True, kw_only=True)
class Score:
    """The metrics of one structure in one case.

    Args:
        case: its name.
        structure: its name.
        prompt: "none", or "box": in each slice the bounding box of the reference.
        counts: of voxels of the scan.
        auc: of the logits, in [0,1]; None of a quick validation.
        hd95_mm: 95th percentile of surface distances; None of a quick validation.
    """

    case: str
    structure: str
    prompt: str
    counts: Counts
    auc: float | None = None
    hd95_mm: float | None = None


def validate(
    bundle: Bundle, cases: Iterable[Case], *, device: torch.device, fully: bool, pictures: Path | None = None
) -> list[Score]:
    """Segment whole scans and count voxels; if `fully`, measure AUC and HD95 too, and if the model can, with boxes.

    A model that needs prompts is judged with boxes only.

    Args:
        bundle: the model and how scans reach it.
        cases: to segment, each with its label.
        device: to segment on.
        fully: measure all metrics, as at the end of a run; without it voxel counts only, without prompts where it can.
        pictures: a folder for one overlay a case (first structure; no prompt, or boxes), of the first hundred.
    """
    scores = []
    for number, case in enumerate(cases):
        scan, labels = read_pair(case)
        prompts: dict[str, ScanPrompts | None] = {} if bundle.needs_prompts else {"none": None}
        if bundle.needs_prompts or (fully and isinstance(bundle.model, PromptableModel)):
            prompts["box"] = boxes_from_labels(labels, bundle.structures, bundle.grid)
        for prompt, given in prompts.items():
            ranks = _Ranks(bundle, labels, case) if fully else None
            mask = segment(scan, bundle, prompts=given, device=device, watch=ranks)
            mask, truth = without_ignored(mask, labels, case)
            for k, structure in enumerate(bundle.structures):
                found, true = structure.inside(mask.array), structure.inside(truth.array)
                score = Score(
                    case=case.name,
                    structure=structure.name,
                    prompt=prompt,
                    counts=count(found, true, True),
                    auc=ranks.histograms[k].auc if ranks else None,
                    hd95_mm=hausdorff95(found, true, truth.grid.steps_mm) if fully else None,
                )
                scores.append(score)
            if pictures and number < _PICTURES and prompt == next(iter(prompts)):
                _draw(pictures / f"{fit_name(case.name)}.png", bundle, scan, truth, mask)
    return scores


class _Ranks:
    """Watches the logits of a scan and compares them with its labels, structure by structure."""

    def __init__(self, bundle: Bundle, labels: Volume, case: Case) -> None:
        self.structures, self.link, self.case = bundle.structures, bundle.link, case
        self.labels = labels.grid.orientation_to(bundle.grid.frame).apply(labels.array)
        self.histograms = [RankHistogram() for _ in self.structures]

    def __call__(self, start: int, logits: Tensor) -> None:
        truth = np.ascontiguousarray(self.labels[start : start + len(logits)])
        if self.link == "softmax":
            logits = margins(logits)
        ignored = ignored_in(truth, self.case)
        counted = None if ignored is None else torch.from_numpy(~ignored).to(logits.device)
        for k, structure in enumerate(self.structures):
            inside, own = torch.from_numpy(structure.inside(truth)).to(logits.device), logits[:, k]
            self.histograms[k].add(*((own, inside) if counted is None else (own[counted], inside[counted])))


def mean_dice(scores: Iterable[Score], *, prompt: str | None = None, structure: str | None = None) -> float:
    """Return the mean Dice over cases and structures, by default without a prompt where there are such scores."""
    scores = list(scores)
    prompt = prompt or ("none" if any(s.prompt == "none" for s in scores) else scores[0].prompt)
    return fmean(
        s.counts.dice for s in scores if s.prompt == prompt and (structure is None or s.structure == structure)
    )


def _draw(path: Path, bundle: Bundle, scan: Volume, reference: Volume, prediction: Volume) -> None:
    first = bundle.structures[0]
    true, found = (Volume(array=first.inside(each.array), grid=each.grid) for each in (reference, prediction))
    dice = count(found.array, true.array, True).dice
    picture = CasePicture(
        scan=scan,
        reference=true,
        prediction=found,
        value=1,
        intensity=bundle.intensity,
        frame=bundle.grid.frame,
        heading=f"{path.stem}: {first.name}, Dice {dice:.3f}",
    )
    draw_largest(path, picture)
