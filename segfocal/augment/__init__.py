"""Augmentation: ours, of whole batches on the device, and an adapter for transforms of other libraries.

Start with `augment.py`; `external.py` takes MONAI's transforms, `random_parameters.py` holds what is random.
"""

from segfocal.augment.augment import Augment, Augmentation
from segfocal.augment.external import EachSample

__all__ = ["Augment", "Augmentation", "EachSample"]
