"""Whether an exported network says what the model says: both run on a real scan, logits and masks compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.slice_boxes import answer_boxes
from segfocal.inference.segment import segment_with
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.metrics import Counts, count
from segfocal.models import PromptableModel

LEAST_DICE = 0.999
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far two networks are apart on a scan.

    Args:
        logit_difference: the largest, over all windows.
        dice: of their masks, by structure.
        voxels: in the model's mask, by structure.
    """

    logit_difference: float
    dice: dict[str, float]
    voxels: dict[str, int]

    def worse(self, other: Parity) -> Parity:
        """Return the larger difference and the smaller Dice of two networks that were compared with one model."""
        return Parity(
            logit_difference=float(np.maximum(self.logit_difference, other.logit_difference)),  # NaN, if one is
            dice={name: min(dice, other.dice[name]) for name, dice in self.dice.items()},
            voxels=self.voxels,
        )

    def row(self, tolerance: float) -> dict[str, Any]:
        """Return what `parity.json` holds, with the limits."""
        return asdict(self) | {"limits": {"logit_difference": tolerance, "dice": LEAST_DICE}}

    def check(self, tolerance: float) -> None:
        """Raise UserError when logits differ by more than `tolerance`, or masks by more than LEAST_DICE allows."""
        worst = min(self.dice.values())
        if not self.logit_difference <= tolerance or worst < LEAST_DICE:
            raise UserError(
                expected=f"logits within {tolerance:g} of torch's and Dice of the masks ≥ {LEAST_DICE}",
                found=f"{self.logit_difference:.2g} and {worst:.4f}",
                do="compare on another scan, or set tolerance if that does not matter; nothing was written",
            )


@torch.no_grad()
def compare(scan: Volume, bundle: Bundle, exported: nn.Module, *, overlap: float) -> Parity:
    """Segment a scan with the bundle's model and with the exported network, by the same sliding window, on the CPU.

    Args:
        scan: to segment.
        bundle: with the model. Post-processing is left out.
        exported: the network as it was written and read back.
        overlap: share of neighbouring windows, in [0,1).
    """
    bundle = replace(bundle, postprocess={})
    both = _Both(bundle.model, exported)
    sliding = SlidingOptions(overlap=overlap, batch_size=_BATCH, engine="torch")
    ours, theirs = (
        segment_with(Predictor([one], sliding=sliding), scan) for one in (bundle, replace(bundle, model=both))
    )
    pairs = {s.name: count(s.inside(theirs.array), s.inside(ours.array), True) for s in bundle.structures}
    return _parity(both.difference, pairs)


@torch.no_grad()
def compare_prompted(scan: Volume, bundle: Bundle, exported: nn.Module) -> Parity:
    """Ask both about the middle of every slice with a box; masks are compared on the model's grid."""
    image = ModelInput(scan, bundle.grid, bundle.intensity, neighbours=bundle.neighbours).whole()
    depth, h, w = image.shape[1:]
    box = torch.tensor([w / 4, h / 4, 3 * w / 4, 3 * h / 4])
    boxes = box.expand(len(bundle.structures), depth, 1, 4)
    answers = zip(_answers(image, bundle.model, boxes), _answers(image, exported, boxes), strict=True)
    difference, totals = 0.0, {s.name: Counts(tp=0, fp=0, fn=0, tn=0) for s in bundle.structures}
    for ours, theirs in answers:
        difference = max(difference, float((ours - theirs).abs().max()))
        for k, structure in enumerate(bundle.structures):
            pair = [np.asarray(logits[k] > 0) for logits in (theirs, ours)]
            totals[structure.name] = _sum(totals[structure.name], count(pair[0], pair[1], True))
    return _parity(difference, totals)


class _Both(nn.Module):
    """Runs two networks, remembers how far apart their logits were at most, and gives those of the second."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.difference = first, second, 0.0

    def forward(self, image: Tensor) -> Tensor:
        logits = self.second(image)
        apart = (logits - self.first(image)).abs().max()
        self.difference = max(self.difference, float(apart)) if apart.isfinite() else float("nan")
        return logits


def _answers(image: Tensor, model: nn.Module, boxes: Tensor) -> Iterator[Tensor]:
    promptable = cast(PromptableModel, model)
    for slab in answer_boxes(image, promptable, boxes, batch_size=_BATCH, device=torch.device("cpu"), cut=False):
        yield slab.logits


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(tp=one.tp + other.tp, fp=one.fp + other.fp, fn=one.fn + other.fn, tn=one.tn + other.tn)


def _parity(difference: float, pairs: dict[str, Counts]) -> Parity:
    return Parity(
        logit_difference=difference,
        dice={name: counts.dice for name, counts in pairs.items()},
        voxels={name: counts.tp + counts.fn for name, counts in pairs.items()},
    )
