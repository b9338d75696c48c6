"""Regression loss of a network's own guess at the IoU of its mask (SAM's "IoU head")."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.base import Term
from segfocal.losses.distributed import global_sum
from segfocal.losses.input_checks import as_mask, check_pair, computed


class IoUHeadLoss(Term):
    """Mean squared error between the predicted IoU `[b,k]` and the true IoU of each mask in logits `[b,k,*space]`.

    Args:
        soft_batch: False compares with the *hard* IoU of each mask (logit > 0), detached: what the head predicts at
            inference. True is SAM-Med2D's form: one soft IoU over the whole batch, through which the gradient also
            reaches the mask.
        validate: check values too; False, because it synchronises a GPU.

    An empty target with an empty mask has IoU 1.
    Source: Kirillov et al., "Segment Anything", ICCV 2023, appendix A; SAM-Med2D for the soft form.

    Raises:
        ValueError: shapes that differ, integer logits, no pixels.
    """

    uses_predicted_iou = True

    def __init__(self, soft_batch: bool = False, validate: bool = False) -> None:
        super().__init__(validate=validate)
        self.soft_batch = soft_batch

    def forward(self, logits: Tensor, target: Tensor, predicted_iou: Tensor) -> Tensor:
        """Return the scalar loss."""
        check_pair(logits, target, validate=self.validate)
        if predicted_iou.shape != logits.shape[:2]:
            raise ValueError(
                f"expected a predicted IoU for each mask, [b,k] = {list(logits.shape[:2])}; got "
                f"{list(predicted_iou.shape)}: reshape it"
            )
        with torch.autocast(logits.device.type, enabled=False):
            guess, target = computed(predicted_iou), as_mask(target)
            true = _soft_batch_iou(computed(logits), target) if self.soft_batch else _hard_iou(logits, target)
            return (guess - true.to(guess.dtype)).square().mean()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"soft_batch={self.soft_batch}"


def _hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return the IoU [b,k] of each thresholded mask; 1 where both are empty."""
    axes = list(range(2, logits.ndim))
    mask, truth = logits.detach() > 0, target >= 0.5
    both, either = (mask & truth).sum(axes), (mask | truth).sum(axes)
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float32))


def _soft_batch_iou(logits: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(logits)
    both, either = global_sum((p * target).sum()), global_sum(p.sum() + target.sum())
    return (both + 1e-7) / (either - both + 1e-7)
