"""Augmentation: ours, of whole batches on the device, and an adapter for transforms of other libraries."""

from segfocal.augment.augment import Augment, Augmentation
from segfocal.augment.external import EachSample

__all__ = ["Augment", "Augmentation", "EachSample"]
