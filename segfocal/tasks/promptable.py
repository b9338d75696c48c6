"""Interactive training: encode each image once, decode a first prompt, then correct the answer by clicks on its errors.

Source: Kirillov et al., "Segment Anything", ICCV 2023, appendix A; Cheng et al., "SAM-Med2D", 2023. docs/prompts.md has
the differences.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segfocal.batch import PROMPTING, STROKES, Batch, step_uniforms, uniforms
from segfocal.losses import LossReport, WeightedSum
from segfocal.models import Answer, PromptableModel
from segfocal.models.embeddings import EmbeddingCache
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import Prompt
from segfocal.tasks.first_prompt import FirstPrompt
from segfocal.tasks.ignored_pixels import settled
from segfocal.tasks.multimask import check_multimask, trained_logits
from segfocal.tasks.prompt_training import PromptTraining
from segfocal.tasks.prompted_structures import draw_structures
from segfocal.tasks.rounds import RoundPlan


class _Targets(NamedTuple):
    """The n = b·m masks that get a prompt, and the random numbers of their prompts; of volumes with d before h, w.

    Args:
        masks: [n,1,h,w].
        ignored: [n,1,h,w], True at pixels without a loss; None without any.
        first: uniform numbers [n, sum(FirstPrompt.draws(axes))] of the first prompts.
        clicks: uniform numbers [n, rounds − 1, most clicks in a round] of the corrections.
        first_strokes: uniform numbers [n, FirstPrompt.STROKE_DRAWS]; None where no first prompt is a stroke.
        strokes: uniform numbers [n, rounds − 1, RoundPlan.STROKE_DRAWS]; None where no round needs them.
        cells: [n,1,h,w], those of the masks' components; None of a batch without.
    """

    masks: Tensor
    ignored: Tensor | None
    first: Tensor
    clicks: Tensor
    first_strokes: Tensor | None
    strokes: Tensor | None
    cells: Tensor | None


class Promptable(nn.Module):
    """Trains a promptable model on prompts drawn from the target: one forward pass and one optimiser step a batch.

    Random numbers are a function of (seed, step, sample), those that a batch shares of (seed, step).

    Args:
        model: encodes images and decodes prompts.
        criterion: the loss of each round's logits; its IoU-head terms also see the predicted IoU.
        options: the fields of `PromptTraining`.

    Raises:
        TypeError: an option that `PromptTraining` does not have.
        ValueError: what `PromptTraining` refuses; a model that takes no prompts, or that will give other masks than
            those trained; several masks without a loss for the predicted IoU that chooses among them.
    """

    def __init__(self, *, model: nn.Module, criterion: WeightedSum, **options: Any) -> None:
        super().__init__()
        training = PromptTraining(**options)
        if not isinstance(model, PromptableModel):
            raise ValueError(
                f"expected a promptable model such as sam_tiny; got {type(model).__name__}: use task=semantic with it"
            )
        check_multimask(training.multimask, model, criterion)
        self.model, self.criterion = model, criterion
        self.rounds, self.first, self.plan = training.rounds, training.first, training.plan
        self.trained_rounds = training.trained_rounds
        self.masks_per_image, self.multimask = training.masks_per_image, training.multimask
        self.recompute, self.embeddings = training.recompute, training.embeddings
        self._cache: EmbeddingCache | None = None

    @property
    def needs_prompts(self) -> bool:
        """Whether the model is never trained without a prompt."""
        return not self.first.none

    def check_structures(self, count: int) -> None:
        """Raise ValueError unless prompts can tell `count` structures apart; an empty prompt cannot."""
        if count == 1:
            return
        if self.first.none:
            raise ValueError(
                f"expected task.first.none=0 with {count} targets (no prompt cannot say which of them is meant); got "
                f"{self.first.none}: set it to 0, name one target, or use task=semantic model=unet"
            )

    def forward(self, batch: Batch) -> LossReport:
        """Return the mean loss over the rounds that are trained."""
        kind, *shared, last = step_uniforms(batch.keys[0], 2 + self.rounds)
        targets = self._targets(batch)
        if self.first.drawn_by == "batch":
            targets.first[:, 0] = kind

        embedding = self.model.shared(self._encode(batch.image))
        prompt = self.first.draw(targets.masks, targets.first, targets.ignored, targets.first_strokes)
        corrections = self.plan.corrections(self.rounds, shared)
        untrained = 0
        if self.trained_rounds == "drawn":
            untrained = int(last * self.rounds)
            corrections = corrections[:untrained]
        answer, report = self._round(embedding, prompt, targets, trained=not untrained)
        reports = [report]
        for number, correction in enumerate(corrections, start=1):
            draws = targets.clicks[:, number - 1]
            strokes = None if targets.strokes is None else targets.strokes[:, number - 1]
            prompt = self.plan.corrected(prompt, answer, targets.masks, correction, draws, strokes)
            # what a round leaves out comes back in the next
            shown = self.plan.shown(prompt, strokes, new_clicks=correction.clicks)
            shown = prompt.only_mask() if correction.mask_only else shown
            answer, report = self._round(embedding, shown, targets, trained=number >= untrained)
            reports.append(report)
        return LossReport.mean(reports[untrained:])

    def loss_target(self, batch: Batch) -> Tensor:
        """Return the masks [n,1,h,w] that get a prompt."""
        return self._targets(batch).masks

    def loss_cells(self, batch: Batch) -> Tensor | None:
        """Return the cells [n,1,h,w] of these masks' components."""
        return self._targets(batch).cells

    def _targets(self, batch: Batch) -> _Targets:
        """Return the masks to prompt for: m an image, in the order of the images."""
        b, k = batch.target.shape[:2]
        m, clicks_a_round = self.masks_per_image or k, max(self.plan.clicks)
        of_first = FirstPrompt.draws(batch.target.ndim - 2)
        parts = [of_first[0], (self.rounds - 1) * clicks_a_round, of_first[1]]  # a prompt's row of uniform numbers
        draws = uniforms(batch.keys, PROMPTING, m * sum(parts) + k).to(batch.image.device)
        of_prompts, of_structures = draws.split([m * sum(parts), k], dim=1)
        before, clicks, after = of_prompts.reshape(b * m, -1).split(parts, dim=1)

        masks, cells = batch.target, batch.cells
        if self.masks_per_image is not None:
            index = torch.arange(b, device=masks.device)[:, None], draw_structures(masks, m, of_structures)
            masks, cells = masks[index], None if cells is None else cells[index]
        return _Targets(
            masks=masks.flatten(0, 1).unsqueeze(1),
            ignored=None if batch.ignored is None else batch.ignored.repeat_interleave(m, dim=0),
            first=torch.cat([before, after], dim=1),
            clicks=clicks.reshape(b * m, self.rounds - 1, clicks_a_round),
            cells=None if cells is None else cells.flatten(0, 1).unsqueeze(1),
            **self._strokes(batch, m),
        )

    def _strokes(self, batch: Batch, count: int) -> dict[str, Tensor | None]:
        """Return the uniform numbers of scribbles and lassos, a stream of their own, for `count` prompts an image."""
        if not (self.first.draws_strokes or self.plan.draws_strokes):
            return {"first_strokes": None, "strokes": None}
        parts = [FirstPrompt.STROKE_DRAWS, (self.rounds - 1) * RoundPlan.STROKE_DRAWS]
        draws = uniforms(batch.keys, STROKES, count * sum(parts)).to(batch.image.device)
        first, later = draws.reshape(len(batch) * count, -1).split(parts, dim=1)
        return {
            "first_strokes": first if self.first.draws_strokes else None,
            "strokes": later.unflatten(1, (self.rounds - 1, -1))
            if self.plan.draws_strokes and self.rounds > 1
            else None,
        }

    def _encode(self, image: Tensor) -> Embedding:
        if self.embeddings is None:
            return self.model.encode(image)
        if self._cache is None:  # made by the first batch, when the encoder has its weights and its device
            self._cache = EmbeddingCache(Path(self.embeddings), self.model)
        return self._cache.encode(image)

    def _round(
        self, embedding: Embedding, prompt: Prompt, targets: _Targets, *, trained: bool
    ) -> tuple[Answer, LossReport]:
        """Return the answer [n,1,h,w] to correct next, and the loss of the mask that is trained.

        Ignored pixels are background in the answer, as in the target, so no correction is clicked there.
        """
        if trained:
            return self._answered(embedding, prompt, targets)
        with torch.no_grad():
            return self._answered(embedding, prompt, targets)

    def _answered(self, embedding: Embedding, prompt: Prompt, targets: _Targets) -> tuple[Answer, LossReport]:
        answer = self._decode(embedding, prompt)
        answer = answer._replace(logits=settled(answer.logits, targets.ignored))
        trained = trained_logits(answer, targets.masks, self.multimask)
        candidates = None if self.multimask == "single" else answer.logits
        cells = {} if targets.cells is None else {"cells": targets.cells}
        report = self.criterion(trained, targets.masks, answer.predicted_iou, candidates=candidates, **cells)
        return answer.best(), report

    def _decode(self, embedding: Embedding, prompt: Prompt) -> Answer:
        decode = partial(self.model.decode, embedding, prompt, multimask=self.multimask != "single")
        if self.recompute and not self.model.checkpointing:  # a checkpointing model decodes again by itself
            return checkpoint(decode, use_reentrant=False)
        return decode()
