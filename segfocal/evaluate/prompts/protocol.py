"""Which prompts a promptable model gets, one after another, and how it answers them.

Source: Cheng et al., "SAM-Med2D", 2023, section 4: boxes, and clicks of which each after the first corrects an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segfocal.batch import PROMPTING, SampleKey, uniforms
from segfocal.models import PromptableModel
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import Prompt, boxes_of, clicks_in, error_clicks, jitter_boxes
from segfocal.prompts.regions import centres_of

NONE, BOX = "none", "box"
_SIDES = 4  # uniform numbers of a box; those of the clicks follow


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which prompts each structure of each slice gets, and how they are drawn.

    Args:
        prompts: "none", "box", or numbers of clicks ≥ 1; the first click lies in the target, each other one where the
            answer before it is wrong.
        first_click: "uniform" anywhere in the target, or "central", the pixel of its largest component farthest from
            the border.
        click_at: where the next ones lie: "uniform" among all wrong pixels, or the middle of the "largest" connected
            error.
        mask_prompt: whether each click after the first comes with the answer before it as mask prompt.
        box_jitter_pixels: how far each side of a box may be off, ≥ 0.
        min_pixels: targets with fewer pixels in the whole slice are passed over, ≥ 1.
        seed: every random number is a function of it and of case, slice and structure, ≥ 0.

    Raises:
        ValueError: an unknown prompt or word, one twice, a number out of range.
    """

    prompts: Sequence[str | int] = (NONE, BOX, 1, 3, 5, 9)
    first_click: Literal["uniform", "central"] = "uniform"
    click_at: Literal["uniform", "largest"] = "uniform"
    mask_prompt: bool = True
    box_jitter_pixels: float = 0.0
    min_pixels: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        given = self.prompts
        object.__setattr__(self, "prompts", (given,) if isinstance(given, str | int) else tuple(given))
        known = [prompt in (NONE, BOX) or _is_number(prompt, 1) for prompt in self.prompts]
        jitter = self.box_jitter_pixels
        rules = {
            "prompts": ("none, box and numbers of clicks ≥ 1, each once", self._once() and known and all(known)),
            "first_click": ("uniform or central", self.first_click in ("uniform", "central")),
            "click_at": ("uniform or largest", self.click_at in ("uniform", "largest")),
            "mask_prompt": ("true or false", isinstance(self.mask_prompt, bool)),
            "box_jitter_pixels": ("≥ 0", isinstance(jitter, int | float) and 0 <= jitter < math.inf),
            "min_pixels": ("a whole number ≥ 1", _is_number(self.min_pixels, 1)),
            "seed": ("a whole number ≥ 0", _is_number(self.seed, 0)),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"expected {name} {rule}; got {name}={getattr(self, name)!r}")

    def _once(self) -> bool:
        return len({str(prompt) for prompt in self.prompts}) == len(self.prompts)

    @property
    def most_clicks(self) -> int:
        """How many clicks the longest chain has; 0 without clicks."""
        return max((p for p in self.prompts if isinstance(p, int)), default=0)


@torch.no_grad()
def answers(
    model: PromptableModel, embedding: Embedding, target: Tensor, keys: tuple[SampleKey, ...], protocol: Protocol
) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each prompt and the masks [n,h,w] that answer it.

    Args:
        model: that answers.
        embedding: of the slices, as the model's encoder made it.
        target: [n,1,h,w] in {0,1}, one structure each; a slice may stand for several.
        keys: one for each target, from which its random numbers follow.
        protocol: which prompts, and how they are drawn.
    """
    draws = uniforms(keys, PROMPTING, _SIDES + max(1, protocol.most_clicks)).to(target.device)
    sides, first, later = draws[:, :_SIDES], draws[:, _SIDES], draws[:, _SIDES:]
    prompt = Prompt.none(len(target), device=target.device)
    if NONE in protocol.prompts:
        yield NONE, model.answer(embedding, prompt).logits[:, 0] > 0
    if BOX in protocol.prompts:
        boxes = jitter_boxes(boxes_of(target), sides, pixels=protocol.box_jitter_pixels, share=0.0)
        yield BOX, model.answer(embedding, prompt.with_boxes(boxes)).logits[:, 0] > 0
    inside = target[:, 0] > 0
    xy = clicks_in(inside, first)[0] if protocol.first_click == "uniform" else centres_of(inside, count=1)[:, 0]
    prompt = prompt.only_clicks(xy[:, None], torch.ones_like(xy[:, :1], dtype=torch.long))
    for number in range(1, protocol.most_clicks + 1):
        answer = model.answer(embedding, prompt)
        if number in protocol.prompts:
            yield str(number), answer.logits[:, 0] > 0
        if number < protocol.most_clicks:
            prompt = prompt.with_clicks(*error_clicks(answer.logits, target, later[:, number], at=protocol.click_at))
            prompt = prompt.with_mask(answer.low_res_logits.float()) if protocol.mask_prompt else prompt


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
