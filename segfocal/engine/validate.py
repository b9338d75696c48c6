"""Validation on whole held-out volumes, at the scans' own resolution: the figure that counts, not a patch score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from segfocal.data.cases import Case
from segfocal.data.prepared import read_pair
from segfocal.grid import Volume
from segfocal.inference import picture
from segfocal.inference.boxes import boxes_from_labels
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import segment
from segfocal.metrics import Counts, count
from segfocal.models import PromptableModel


@dataclass(frozen=True, kw_only=True)
class Score:
    """The figures of one structure in one case; prompt is "none" or "box" (of each slice, from the reference)."""

    case: str
    structure: str
    prompt: str
    counts: Counts


def validate(
    bundle: Bundle, cases: Iterable[Case], *, device: torch.device, with_boxes: bool, pictures: Path | None = None
) -> list[Score]:
    """Segment whole scans and count voxels; with boxes as well if asked and the model takes them.

    pictures: a folder for one overlay a case (first structure, no prompt).
    """
    scores = []
    for case in cases:
        scan, labels = read_pair(case)
        prompts: dict[str, Tensor | None] = {"none": None}
        if with_boxes and isinstance(bundle.model, PromptableModel):
            prompts["box"] = boxes_from_labels(labels, bundle.structures[0].value, bundle.grid)
        for prompt, boxes in prompts.items():
            mask = segment(scan, bundle, boxes=boxes, device=device)
            for structure in bundle.structures:
                counts = count(mask.array, labels.array, structure.value)
                scores.append(Score(case=case.name, structure=structure.name, prompt=prompt, counts=counts))
            if pictures and prompt == "none":
                _draw(pictures / f"{case.name}.png", bundle, scan, labels, mask)
    return scores


def mean_dice(scores: Iterable[Score], *, prompt: str = "none", structure: str | None = None) -> float:
    """Return the mean Dice over cases and structures."""
    return fmean(
        s.counts.dice for s in scores if s.prompt == prompt and (structure is None or s.structure == structure)
    )


def _draw(path: Path, bundle: Bundle, scan: Volume, reference: Volume, prediction: Volume) -> None:
    first = bundle.structures[0]
    dice = count(prediction.array, reference.array, first.value).dice
    picture.draw(
        path,
        scan=scan,
        reference=reference,
        prediction=prediction,
        value=first.value,
        intensity=bundle.intensity,
        frame=bundle.grid.frame,
        heading=f"{path.stem}: {first.name}, Dice {dice:.3f}",
    )
