"""The walk of an evaluation with prompts: cut views from labelled slices, ask the model, score its answers, sum up.

Source: Cheng et al., "SAM-Med2D", 2023, section 4; docs/evaluate_prompts.md has the rules.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import segfocal
from segfocal.batch import SampleKey
from segfocal.data.case import Case
from segfocal.data.sampling.dataset import cut
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation, PreparedCase
from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.evaluate.prompts.protocol import NONE, Protocol, answers
from segfocal.evaluate.prompts.summary import ALL, PromptScore, PromptSummary, check_results, summarise, write_results
from segfocal.files import make_folder
from segfocal.metrics import Counts
from segfocal.models import PromptableModel
from segfocal.models.embeddings import EmbeddingCache
from segfocal.models.sam.image_embedding import Embedding

Encode = Callable[[Tensor], Embedding]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptEvaluation:
    """A model to evaluate on labelled cases.

    Args:
        model: that takes prompts.
        preparation: how slices are prepared, and the structures to ask for.
        cases: with labels.
        protocol: which prompts are drawn, and how.
        output: the folder for the results.
        cache: the folder of prepared slices, shared with training.
        neighbours: slices on each side that the model sees as further channels.
        unprompted: names of the structures that the model segments without a prompt; the prompt "none" is left out for
            others. None: it segments all of them.
        embeddings: a folder to keep the encoder's output for each slice; None keeps nothing.
        batch_size: prompts answered at a time, ≥ 1.
        device: auto, cpu or cuda.
        overwrite: whether results of an earlier evaluation may be replaced.
        facts: of model, weights and data, as JSON values for the summary.

    Raises:
        ValueError: a batch_size out of range.
    """

    model: nn.Module
    preparation: Preparation
    cases: Sequence[Case]
    protocol: Protocol
    output: Path
    cache: Path
    neighbours: int = 0
    unprompted: Sequence[str] | None = None
    embeddings: Path | None = None
    batch_size: int = 8
    device: str = "auto"
    overwrite: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"expected batch_size ≥ 1; got {self.batch_size!r}")


class _View(NamedTuple):
    """What the model sees of a slice at once, and the structures in it to ask for (channels of the target)."""

    case: PreparedCase
    slice: int
    structures: tuple[int, ...]


def evaluate_prompts(
    evaluation: PromptEvaluation, *, showing: Callable[[list[Any]], Iterable[Any]] = iter
) -> tuple[list[PromptSummary], list[str]]:
    """Write scores.csv, summary.csv, summary.json and clicks.png; return the summaries over all cases, and notes.

    A note says which prompts were left out and why. `showing` wraps the batches, for a progress bar.

    Raises:
        UserError: results that exist, a model that takes no prompts or was never trained with any of these, a structure
            in no slice, unreadable files.
    """
    started, output = time.monotonic(), evaluation.output
    model = check_promptable(evaluation.model)
    names = [structure.name for structure in evaluation.preparation.structures]
    notes = _left_out(evaluation, names)
    check_results(output, overwrite=evaluation.overwrite)
    make_folder(output)
    device = choose_device(evaluation.device)
    prepared = prepare(evaluation.cases, evaluation.preparation, evaluation.cache)
    batches = list(_batches(_views(prepared, evaluation, model.image_size), evaluation.batch_size))
    model.to(device).eval().requires_grad_(False)
    encode = EmbeddingCache(evaluation.embeddings, model).encode if evaluation.embeddings else model.encode
    scores: list[PromptScore] = []
    for views in showing(batches):
        scores += _scores(views, evaluation, model, encode, device)
    scores = _in_order(scores, prepared, names, evaluation.protocol)
    summaries = summarise(scores, seed=evaluation.protocol.seed)
    facts = {
        "segfocal": segfocal.__version__,
        **evaluation.facts,
        "cases": [case.name for case in prepared],
        "structures": {structure.name: structure.value for structure in evaluation.preparation.structures},
        "protocol": asdict(evaluation.protocol),
        "left_out": notes,
        "device": str(device),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_results(output, scores, summaries, facts)
    return [summary for summary in summaries if summary.case == ALL], notes


def check_promptable(model: nn.Module) -> PromptableModel:
    """Return the model; UserError unless it takes prompts."""
    if not isinstance(model, PromptableModel):
        raise UserError(
            expected="a promptable model, as sam_tiny or lite_medsam",
            found=type(model).__name__,
            do="choose another model or bundle; segfocal evaluate judges the masks of this one",
        )
    return model


def _left_out(evaluation: PromptEvaluation, names: Sequence[str]) -> list[str]:
    """Return which prompts are left out and why; UserError when none remains."""
    without = [name for name in names if not _unprompted(name, evaluation)]
    if NONE not in evaluation.protocol.prompts or not without:
        return []
    knows = ", ".join(evaluation.unprompted or [])
    trained = f"without a prompt the model segments {knows}" if knows else "the model was trained with prompts only"
    if len(evaluation.protocol.prompts) == 1 and len(without) == len(names):
        raise UserError(
            expected="prompts the model was trained with", found=f"prompts=none, and {trained}", do="add box"
        )
    return [f"the prompt none was left out for {', '.join(without)}: {trained}"]


def _views(cases: Sequence[PreparedCase], evaluation: PromptEvaluation, side: int) -> list[_View]:
    """Return the views that hold a target: a slice as a whole, or one view a structure where it is larger than them."""
    structures, least = evaluation.preparation.structures, evaluation.protocol.min_pixels
    views: list[_View] = []
    for case in cases:
        for index in range(case.shape[0]):
            present = tuple(np.flatnonzero(case.pixels[:, index] >= least).tolist())
            if max(case.shape[1:]) > side:
                views += [_View(case, index, (k,)) for k in present]
            elif present:
                views.append(_View(case, index, present))
    seen = {k for view in views for k in view.structures}
    for k, structure in enumerate(structures):
        if k not in seen:
            values = sorted({value for case in cases for value in case.label_values})
            raise UserError(
                expected=f"{structure.name} (label value {structure.value}) with {least} pixels in some slice",
                found=f"none in {', '.join(case.name for case in cases[:5])}; label values {values[:20]}",
                do="choose another target or split, or a smaller min_pixels",
            )
    return views


def _batches(views: Sequence[_View], most: int) -> Iterator[list[_View]]:
    """Yield views with as many structures each, so that prompts fill a batch evenly."""
    by_count: dict[int, list[_View]] = {}
    for view in views:
        by_count.setdefault(len(view.structures), []).append(view)
    for count, alike in by_count.items():
        size = max(1, most // count)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def _scores(
    views: list[_View],
    evaluation: PromptEvaluation,
    model: PromptableModel,
    encode: Encode,
    device: torch.device,
) -> Iterator[PromptScore]:
    """Yield the score of every prompt about some views."""
    protocol, structures = evaluation.protocol, evaluation.preparation.structures
    loaded = [_loaded(view, model.image_size, evaluation.neighbours) for view in views]
    image, target = (torch.stack(parts).to(device) for parts in zip(*loaded, strict=True))
    with torch.no_grad():
        embedding = encode(image)
    for start in range(0, target.shape[1], evaluation.batch_size):
        part = slice(start, start + evaluation.batch_size)
        truth = target[:, part].flatten(0, 1).unsqueeze(1)
        asked = [(view, structures[k]) for view in views for k in view.structures[part]]
        keys = tuple(_key(protocol.seed, view, structure.name) for view, structure in asked)
        for prompt, mask in answers(model, embedding, truth, keys, protocol):
            for (view, structure), (dice, iou, pixels) in zip(asked, _overlaps(mask, truth), strict=True):
                if prompt == NONE and not _unprompted(structure.name, evaluation):
                    continue
                yield PromptScore(
                    case=view.case.name,
                    slice=view.slice,
                    structure=structure.name,
                    prompt=prompt,
                    pixels=pixels,
                    dice=dice,
                    iou=iou,
                )


def _unprompted(structure: str, evaluation: PromptEvaluation) -> bool:
    return evaluation.unprompted is None or structure in evaluation.unprompted


def _in_order(
    scores: list[PromptScore], cases: Sequence[PreparedCase], structures: Sequence[str], protocol: Protocol
) -> list[PromptScore]:
    """Return the scores by case, structure, slice and prompt, in the order in which the evaluation names them."""
    case = {one.name: place for place, one in enumerate(cases)}
    structure = {name: place for place, name in enumerate(structures)}
    prompt = {str(name): place for place, name in enumerate(protocol.prompts)}
    return sorted(scores, key=lambda s: (case[s.case], structure[s.structure], s.slice, prompt[s.prompt]))


def _loaded(view: _View, side: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return image [c,side,side] and target [m,side,side] of a view, cut around the middle of its structures."""
    image, indices = view.case.slice(view.slice, neighbours=neighbours)
    masks = view.case.scheme.target(indices)[list(view.structures)] == 1
    inside = np.argwhere(masks.any(0))
    middle = (inside.min(0) + inside.max(0) + 1) / 2
    if not cut(masks.any(0), middle, (side, side)).any():  # parts farther from each other than a view is wide
        middle = inside[np.abs(inside - middle).sum(1).argmin()]
    target = np.stack([cut(mask, middle, (side, side)) for mask in masks])
    return torch.from_numpy(cut(image, middle, (side, side))), torch.from_numpy(target.astype(np.uint8))


def _overlaps(mask: Tensor, target: Tensor) -> Iterator[tuple[float, float, int]]:
    """Yield Dice, IoU and target pixels of masks [n,h,w] against target [n,1,h,w]."""
    truth = target[:, 0] > 0
    sums = torch.stack([(mask & truth).sum((1, 2)), mask.sum((1, 2)), truth.sum((1, 2))], dim=1)
    for both, predicted, true in sums.tolist():
        union = predicted + true - both
        counts = Counts(tp=both, fp=predicted - both, fn=true - both, tn=mask[0].numel() - union)
        yield counts.dice, counts.iou, true


def _key(seed: int, view: _View, structure: str) -> SampleKey:
    return SampleKey(seed, _number(view.case.name), _number(f"{view.slice} {structure}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
