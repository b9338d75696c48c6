"""Augmentation: ours, of whole batches on the device, and an adapter for transforms of other libraries.

Start with `augment.py`; it draws by `random_parameters.py` and changes pixels by `images.py`. `external.py` adapts
MONAI's transforms.
"""

from segfocal.augment.augment import Augment, Augmentation
from segfocal.augment.external import EachSample

__all__ = ["Augment", "Augmentation", "EachSample"]
