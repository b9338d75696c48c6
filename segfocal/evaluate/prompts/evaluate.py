"""The walk of an evaluation with prompts: cut views from labelled slices, ask the model, score its answers, sum up.

Source: Cheng et al., "SAM-Med2D", 2023, section 4; docs/evaluate_prompts.md has the rules.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

import segfocal
from segfocal.batch import SampleKey
from segfocal.data.cases import files_read
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import PreparedCase
from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.evaluate.prompts.options import PromptEvaluation
from segfocal.evaluate.prompts.protocol import NONE, Protocol, answers
from segfocal.evaluate.prompts.summary import ALL, PromptScore, PromptSummary, check_results, summarise, write_results
from segfocal.evaluate.prompts.views import View, batches_of, load_view, views_of
from segfocal.files import make_folder
from segfocal.metrics import Counts
from segfocal.models import PromptableModel
from segfocal.models.embeddings import EmbeddingCache
from segfocal.models.sam.image_embedding import Embedding

Encode = Callable[[Tensor], Embedding]


def evaluate_prompts(
    evaluation: PromptEvaluation, *, showing: Callable[[list[list[View]]], Iterable[list[View]]] = iter
) -> tuple[list[PromptSummary], list[str]]:
    """Write scores.csv, summary.csv, summary.json and clicks.png; return the summaries over all cases, and notes.

    A note says which prompts were left out and why. `showing` wraps the batches, for a progress bar.

    Raises:
        UserError: results that exist, a model that takes no prompts or was never trained with any of these, a structure
            in no slice, unreadable files.
    """
    started, output = time.monotonic(), evaluation.output
    model = check_promptable(evaluation.model)
    if model.of_volumes:
        sides = "×".join(map(str, model.image_shape))
        raise UserError(expected="a model of slices", found=f"one of volumes, {sides}", do="set volumes=true")
    names = [structure.name for structure in evaluation.preparation.structures]
    notes = _left_out(evaluation, names)
    check_results(output, files_read(evaluation.cases, *evaluation.read), overwrite=evaluation.overwrite)
    for folder in filter(None, (output, evaluation.embeddings)):
        make_folder(folder)
    device = choose_device(evaluation.device)
    prepared = prepare(evaluation.cases, evaluation.preparation, evaluation.cache)
    batches = list(batches_of(views_of(prepared, evaluation, model.image_size), evaluation.batch_size))
    model.to(device).eval().requires_grad_(False)
    encode = EmbeddingCache(evaluation.embeddings, model).encode if evaluation.embeddings else model.encode
    scores: list[PromptScore] = []
    for views in showing(batches):
        scores += _scores(views, evaluation, model, encode, device)
    scores = _in_order(scores, prepared, names, evaluation.protocol)
    summaries = summarise(scores, seed=evaluation.protocol.seed, trained=evaluation.trained)
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
    without = [name for name in names if not evaluation.segments_unprompted(name)]
    if NONE not in evaluation.protocol.prompts or not without:
        return []
    knows = ", ".join(evaluation.unprompted or [])
    trained = f"without a prompt the model segments {knows}" if knows else "the model was trained with prompts only"
    if len(evaluation.protocol.prompts) == 1 and len(without) == len(names):
        raise UserError(
            expected="prompts the model was trained with", found=f"prompts=none, and {trained}", do="add box"
        )
    return [f"the prompt none was left out for {', '.join(without)}: {trained}"]


def _scores(
    views: list[View],
    evaluation: PromptEvaluation,
    model: PromptableModel,
    encode: Encode,
    device: torch.device,
) -> Iterator[PromptScore]:
    """Yield the score of every prompt about some views."""
    protocol, structures = evaluation.protocol, evaluation.preparation.structures
    loaded = [load_view(view, model.image_size, evaluation.neighbours) for view in views]
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
                if prompt == NONE and not evaluation.segments_unprompted(structure.name):
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


def _in_order(
    scores: list[PromptScore], cases: Sequence[PreparedCase], structures: Sequence[str], protocol: Protocol
) -> list[PromptScore]:
    """Return the scores by case, structure, slice and prompt, in the order in which the evaluation names them."""
    case = {one.name: place for place, one in enumerate(cases)}
    structure = {name: place for place, name in enumerate(structures)}
    prompt = {str(name): place for place, name in enumerate(protocol.prompts)}
    return sorted(scores, key=lambda s: (case[s.case], structure[s.structure], s.slice, prompt[s.prompt]))


def _overlaps(mask: Tensor, target: Tensor) -> Iterator[tuple[float, float, int]]:
    """Yield Dice, IoU and target pixels of masks [n,h,w] against target [n,1,h,w]."""
    truth = target[:, 0] > 0
    sums = torch.stack([(mask & truth).sum((1, 2)), mask.sum((1, 2)), truth.sum((1, 2))], dim=1)
    for both, predicted, true in sums.tolist():
        union = predicted + true - both
        counts = Counts(tp=both, fp=predicted - both, fn=true - both, tn=mask[0].numel() - union)
        yield counts.dice, counts.iou, true


def _key(seed: int, view: View, structure: str) -> SampleKey:
    return SampleKey(seed, _number(view.case.name), _number(f"{view.slice} {structure}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
