"""Losses on logits: focal (pixel-wise, over all pixels), soft Dice, soft IoU, IoU-head regression, weighted sums."""

from segfocal.losses.cross_entropy import CrossEntropyLoss
from segfocal.losses.focal import FocalLoss
from segfocal.losses.iou_head import IoUHeadLoss
from segfocal.losses.overlap import DiceLoss, IoULoss
from segfocal.losses.weighted_sum import LossReport, WeightedSum

__all__ = ["CrossEntropyLoss", "DiceLoss", "FocalLoss", "IoUHeadLoss", "IoULoss", "LossReport", "WeightedSum"]
