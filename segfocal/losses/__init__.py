"""Losses on logits: focal, cross-entropy, Dice, IoU, Tversky, IoU head, by lesion, and weighted sums of them.

Start with `weighted_sum.py`, which training holds; `focal.py` and `dice_iou_tversky.py` are terms of it,
`cc_dice_loss.py` and `blob.py` terms that count lesions.
"""

from segfocal.losses.blob import BlobLoss
from segfocal.losses.cc_dice_loss import CCDiceLoss
from segfocal.losses.class_weights import inverse_frequency
from segfocal.losses.component_focal import ComponentFocalLoss
from segfocal.losses.cross_entropy import CrossEntropyLoss, SoftmaxCrossEntropyLoss
from segfocal.losses.dice_iou_tversky import DiceLoss, IoULoss, TverskyLoss
from segfocal.losses.focal import FocalLoss
from segfocal.losses.generalised_dice import GeneralisedDiceLoss
from segfocal.losses.iou_head import IoUHeadLoss
from segfocal.losses.probability import SigmoidProbabilityFocalLoss, SoftmaxProbabilityFocalLoss
from segfocal.losses.softmax_focal import SoftmaxFocalLoss
from segfocal.losses.weighted_sum import LossReport, WeightedSum

__all__ = [
    "BlobLoss",
    "CCDiceLoss",
    "ComponentFocalLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "GeneralisedDiceLoss",
    "IoUHeadLoss",
    "IoULoss",
    "LossReport",
    "SigmoidProbabilityFocalLoss",
    "SoftmaxCrossEntropyLoss",
    "SoftmaxFocalLoss",
    "SoftmaxProbabilityFocalLoss",
    "TverskyLoss",
    "WeightedSum",
    "inverse_frequency",
]
