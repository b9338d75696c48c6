"""Losses on logits: focal (binary and softmax), cross-entropy, soft Dice, soft IoU, IoU head, weighted sums."""

from segfocal.losses.cross_entropy import CrossEntropyLoss, SoftmaxCrossEntropyLoss
from segfocal.losses.focal import FocalLoss
from segfocal.losses.iou_head import IoUHeadLoss
from segfocal.losses.overlap import DiceLoss, IoULoss, TverskyLoss
from segfocal.losses.probability import SigmoidProbabilityFocalLoss, SoftmaxProbabilityFocalLoss
from segfocal.losses.softmax_focal import SoftmaxFocalLoss, inverse_frequency
from segfocal.losses.weighted_sum import LossReport, WeightedSum

__all__ = [
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
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
