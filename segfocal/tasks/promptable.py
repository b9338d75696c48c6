"""Promptable segmentation: encode images once, answer prompts, click where an answer is wrong, answer again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segfocal.batch import PROMPTING, Batch, step_uniforms, uniforms
from segfocal.losses import LossReport, WeightedSum
from segfocal.models import Answer, PromptableModel
from segfocal.models.embeddings import EmbeddingCache
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import Prompt
from segfocal.tasks.asked_structures import best_true, drawn_structures
from segfocal.tasks.first_prompt import FirstPrompt, check_word
from segfocal.tasks.ignored_pixels import settled
from segfocal.tasks.rounds import RoundPlan

_BEFORE_CLICKS = 6  # of the first prompt's uniform numbers, those before the corrections'; the rest comes after them
_FIRST, _PLAN = FirstPrompt(), RoundPlan()


class Promptable(nn.Module):
    """Trains a promptable model on prompts drawn from the target, in one forward pass and one optimiser step a batch.

    Args:
        model: encodes and decodes.
        criterion: loss of each round's logits; its IoU-head terms see the model's predicted IoU.
        rounds: answers a prompt gets; the loss is the mean over them.
        first, plan: the prompt of the first round and of the later ones.
        masks_per_image: prompts an image, each about one structure; None for every structure of the target once. A
            number draws from those present (`drawn_structures`).
        multimask: "single" trains the decoder's one mask; "best_predicted" lets it give three and trains the one with
            the highest predicted IoU, as SAM-Med2D does, "best_true" the one that overlaps the target most, as SAM
            does. Corrections go by the one with the highest predicted IoU; the IoU head learns from all three.
        recompute: decode again in the backward pass instead of keeping what decoding computed.
        embeddings: a folder to keep what a frozen encoder makes of each image, for steps that see it again
            (`EmbeddingCache`); None to encode every time.

    What is random is a function of (seed, step, sample), and of (seed, step) where a batch draws together.
    SAM-Med2D instead makes one optimiser step a round (nine a batch): docs/prompts.md.

    Raises:
        ValueError: rounds or masks_per_image < 1, an unknown word, a plan that needs more rounds, a model that takes no
            prompts or will be asked for other masks than those trained, several masks without a loss for the predicted
            IoU that chooses among them.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        criterion: WeightedSum,
        rounds: int = 1,
        first: FirstPrompt = _FIRST,
        plan: RoundPlan = _PLAN,
        masks_per_image: int | None = None,
        multimask: Literal["single", "best_predicted", "best_true"] = "single",
        recompute: bool = False,
        embeddings: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, PromptableModel):
            raise ValueError(
                f"expected a promptable model such as sam_tiny; got {type(model).__name__}: use task=semantic with it"
            )
        if rounds < 1:
            raise ValueError(f"expected task.rounds ≥ 1; got {rounds}")
        if masks_per_image is not None and masks_per_image < 1:
            raise ValueError(f"expected task.masks_per_image ≥ 1 or null; got {masks_per_image}")
        check_word("task.multimask", multimask, "single", "best_predicted", "best_true")
        self.model, self.criterion, self.rounds = model, criterion, rounds
        plan.check(rounds)
        self.first, self.plan = first, plan
        self.masks_per_image, self.multimask, self.recompute = masks_per_image, multimask, recompute
        self.embeddings = embeddings
        self._cache: EmbeddingCache | None = None
        self._check_masks()

    @property
    def needs_prompts(self) -> bool:
        """Whether no prompt is never a first prompt."""
        return not self.first.none

    def check_structures(self, count: int) -> None:
        """Raise ValueError unless prompts can tell `count` structures apart: one that asks nothing cannot."""
        if count == 1:
            return
        if self.first.none:
            raise ValueError(
                f"expected task.first.none=0 with {count} targets (no prompt cannot say which of them is meant); got "
                f"{self.first.none}: set it to 0, name one target, or use task=semantic model=unet"
            )
        if self.model.prior is not None:
            raise ValueError(
                f"expected model.prior=null for a promptable model of {count} targets; got {self.model.prior}"
            )

    def forward(self, batch: Batch) -> LossReport:
        """Return the mean loss over the rounds."""
        kind, *shared = step_uniforms(batch.keys[0], 1 + self.rounds)
        target, draws, click_draws = self._asked(batch)
        if self.first.drawn_by == "batch":
            draws[:, 0] = kind
        embedding = self._encode(batch.image)
        ignored = batch.ignored
        if ignored is not None:
            ignored = ignored.repeat_interleave(len(target) // len(ignored), dim=0)
        prompt = self.first.draw(target, draws, ignored)
        answer, report = self._round(embedding, prompt, target, ignored)
        reports = [report]
        for turn, new in zip(self.plan.turns(self.rounds, shared), click_draws.unbind(1), strict=True):
            prompt = self.plan.ask(turn, prompt, answer, target, new)
            asked = prompt.only_mask() if turn.mask_only else prompt
            answer, report = self._round(embedding, asked, target, ignored)
            reports.append(report)
        return LossReport.mean(reports)

    def _encode(self, image: Tensor) -> Embedding:
        if self.embeddings is None:
            return self.model.encode(image)
        if self._cache is None:  # now, not before, the encoder has its weights and its place
            self._cache = EmbeddingCache(Path(self.embeddings), self.model)
        return self._cache.encode(image)

    def _asked(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mask [n,1,h,w] that each of n = b·m prompts asks for, and its uniform numbers.

        Those for the first prompt are [n,draws], those for clicks [n,rounds−1,clicks].
        """
        b, k = batch.target.shape[:2]
        m, many = self.masks_per_image or k, max(self.plan.clicks)
        parts = [_BEFORE_CLICKS, (self.rounds - 1) * many, FirstPrompt.DRAWS - _BEFORE_CLICKS]
        draws = uniforms(batch.keys, PROMPTING, m * sum(parts) + k).to(batch.image.device)
        of_prompts, of_structures = draws.split([m * sum(parts), k], dim=1)
        target = batch.target
        if self.masks_per_image is not None:
            index = drawn_structures(target, m, of_structures)
            target = target[torch.arange(b, device=target.device)[:, None], index]
        before, clicks, after = of_prompts.reshape(b * m, -1).split(parts, dim=1)
        first = torch.cat([before, after], dim=1)
        return target.flatten(0, 1).unsqueeze(1), first, clicks.reshape(b * m, self.rounds - 1, many)

    def _round(
        self, embedding: Any, prompt: Prompt, target: Tensor, ignored: Tensor | None
    ) -> tuple[Answer, LossReport]:
        """Return the answer to go on from, [n,1,h,w], and the loss of the one that is trained.

        Where pixels are ignored the answer is background, as the target is: corrections have nothing to click there.
        """
        several = {} if self.multimask == "single" else {"multimask": True}
        answer = self._decode(embedding, prompt, **several)
        if ignored is not None:
            answer = answer._replace(logits=settled(answer.logits, ignored))
        if not several:
            return answer, self.criterion(answer.logits, target, answer.predicted_iou)
        best = answer.best()
        trained = best.logits
        if self.multimask == "best_true":
            place = best_true(answer.logits, target)[:, :, None, None]
            trained = torch.take_along_dim(answer.logits, place, dim=1)
        return best, self.criterion(trained, target, answer.predicted_iou, candidates=answer.logits)

    def _decode(self, embedding: Any, prompt: Prompt, **options: bool) -> Answer:
        decode = partial(self.model.decode, embedding, prompt, **options)
        if self.recompute and not self.model.checkpointing:  # which does the same, and the encoder too
            return checkpoint(decode, use_reentrant=False)
        return decode()

    def _check_masks(self) -> None:
        """Raise ValueError unless the masks that are trained are those the model will be asked for."""
        several = self.multimask != "single"
        if several and not self.model.mask_decoder.num_multimask_outputs:
            raise ValueError(
                f"expected a model that gives several masks for task.multimask={self.multimask}; got one that gives "
                "one: use task.multimask=single, or a SAM model"
            )
        if several != self.model.multimask:
            raise ValueError(
                f"expected model.multimask={str(several).lower()} for task.multimask={self.multimask} (a trained model "
                f"gives the masks that were trained); got {str(self.model.multimask).lower()}"
            )
        if several and not self.criterion.uses_predicted_iou:
            raise ValueError(
                f"expected a loss with an IoU-head term for task.multimask={self.multimask} (the predicted IoU chooses "
                "the mask); got none: use loss=sam_med2d"
            )
        if several and any(getattr(term, "soft_batch", False) for term in self.criterion.terms.values()):
            raise ValueError(
                f"expected loss.terms.iou_head.soft_batch=false for task.multimask={self.multimask} (one IoU of a "
                "whole batch says nothing about each mask); got true"
            )
