"""Which mask is trained where a decoder gives several alternatives to one prompt."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segfocal.losses import WeightedSum
from segfocal.losses.dice_iou_tversky import soft_counts
from segfocal.models import Answer, PromptableModel
from segfocal.tasks.first_prompt import check_word

Multimask = Literal["single", "best_predicted", "best_true"]


def trained_logits(answer: Answer, target: Tensor, multimask: Multimask) -> Tensor:
    """Return the mask logits [n,1,h,w] that the mask losses compare with target [n,1,h,w].

    "best_true" is the alternative that overlaps the target most. Otherwise it is the one of highest predicted IoU,
    which is the only one where the decoder gives a single mask.
    """
    if multimask != "best_true":
        return answer.best().logits
    place = best_true(answer.logits, target)[:, :, None, None]
    return torch.take_along_dim(answer.logits, place, dim=1)


@torch.no_grad()
def best_true(logits: Tensor, target: Tensor) -> Tensor:
    """Return the index [n,1] of the mask in logits [n,k,h,w] that overlaps target [n,1,h,w] most.

    The measure is the soft IoU. It also ranks masks that are all empty, as those of an untrained model are.
    """
    counts = soft_counts(logits.float(), target.expand_as(logits), "sigmoid")
    return ((counts.both + 1) / (counts.predicted + counts.target - counts.both + 1)).argmax(1, keepdim=True)


def check_multimask(multimask: Multimask, model: PromptableModel, criterion: WeightedSum) -> None:
    """Raise ValueError unless the trained masks are those the model will give, and the loss can rank them."""
    check_word("task.multimask", multimask, "single", "best_predicted", "best_true")
    several = multimask != "single"
    if several and not model.alternatives:
        raise ValueError(
            f"expected a model that gives several masks for task.multimask={multimask}; got one that gives one: use "
            "task.multimask=single, or a SAM model"
        )
    if several != model.multimask:
        raise ValueError(
            f"expected model.multimask={str(several).lower()} for task.multimask={multimask} (a trained model gives "
            f"the masks that were trained); got {str(model.multimask).lower()}"
        )
    if several and not criterion.uses_predicted_iou:
        raise ValueError(
            f"expected a loss with an IoU-head term for task.multimask={multimask} (the predicted IoU chooses the "
            "mask); got none: use loss=sam_med2d"
        )
    if several and criterion.uses_soft_batch_iou:
        raise ValueError(
            f"expected loss.terms.iou_head.soft_batch=false for task.multimask={multimask} (one IoU of a whole batch "
            "says nothing about each mask); got true"
        )
