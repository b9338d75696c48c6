"""Promptable segmentation: encode an image once, answer a prompt, click where the answer is wrong, answer again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from segfocal.batch import PROMPTING, Batch, uniforms
from segfocal.losses import LossReport, WeightedSum
from segfocal.models import Answer, PromptableModel
from segfocal.prompts import ABSENT, Prompt, boxes_of, clicks_in, error_clicks, jitter_boxes

_DRAWS_FIRST = 6  # uniform numbers the first prompt takes: its kind, four box sides, one click


class Promptable(nn.Module):
    """Trains a promptable model on prompts drawn from the target, in one forward pass and one optimiser step a batch.

    Args:
        model: encodes and decodes.
        criterion: loss of each round's logits; its IoU-head terms see the model's predicted IoU.
        none, box, point: relative frequencies of the first prompt; each sample draws its own. A sample without a
            target gets none.
        jitter_pixels, jitter_share: how far each box side may be off (the larger counts).
        rounds: answers a sample; every round after the first adds one click on a wrong pixel and the previous
            answer as mask prompt. The loss is the mean over rounds.

    SAM-Med2D instead makes one optimiser step a round (nine a batch) and encodes the image anew for some of them.

    Raises:
        ValueError: frequencies that are negative or all zero, rounds < 1, a model that takes no prompts.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        criterion: WeightedSum,
        none: float = 0.5,
        box: float = 0.4,
        point: float = 0.1,
        jitter_pixels: float = 2.0,
        jitter_share: float = 0.1,
        rounds: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(model, PromptableModel):
            raise ValueError(
                f"expected a promptable model such as sam_tiny; got {type(model).__name__}: use task=semantic with it"
            )
        if min(none, box, point) < 0 or none + box + point <= 0:
            raise ValueError(f"expected prompt frequencies ≥ 0, not all zero; got {none}, {box}, {point}")
        if rounds < 1:
            raise ValueError(f"expected task.rounds ≥ 1; got {rounds}")
        self.model, self.criterion, self.rounds = model, criterion, rounds
        self.none, self.box, self.point = none, box, point
        self.jitter_pixels, self.jitter_share = jitter_pixels, jitter_share

    def forward(self, batch: Batch) -> LossReport:
        """Return the mean loss over the rounds."""
        draws = uniforms(batch.keys, PROMPTING, _DRAWS_FIRST + self.rounds - 1).to(batch.image.device)
        embedding = self.model.encode(batch.image)
        prompt = self._first_prompt(batch.target, draws)
        reports = []
        for turn in range(self.rounds):
            answer = self.model.decode(embedding, prompt)
            reports.append(self.criterion(answer.logits, batch.target, answer.predicted_iou))
            if turn + 1 < self.rounds:
                prompt = _corrected(prompt, answer, batch.target, draws[:, _DRAWS_FIRST + turn])
        return LossReport.mean(reports)

    def _first_prompt(self, target: Tensor, draws: Tensor) -> Prompt:
        """Draw each sample's kind of prompt, then its box or click."""
        kind = draws[:, 0] * (self.none + self.box + self.point)
        boxes = jitter_boxes(boxes_of(target), draws[:, 1:5], pixels=self.jitter_pixels, share=self.jitter_share)
        asks_box = (kind >= self.none) & (kind < self.none + self.box)
        xy, found = clicks_in(target[:, 0] > 0.5, draws[:, 5])
        asks_point = (kind >= self.none + self.box) & found
        prompt = Prompt.none(len(target), device=target.device)
        return replace(
            prompt,
            boxes_xyxy=torch.where(asks_box[:, None], boxes, torch.nan),
            points_xy=xy[:, None],
            point_labels=torch.where(asks_point, 1, ABSENT)[:, None],
        )


def _corrected(prompt: Prompt, answer: Answer, target: Tensor, draws: Tensor) -> Prompt:
    """Return the prompt with a click on a wrong pixel and the previous answer as its mask."""
    with torch.no_grad():
        xy, labels = error_clicks(answer.logits, target, draws)
        return prompt.with_clicks(xy, labels).with_mask(answer.low_res_logits.detach().float())
