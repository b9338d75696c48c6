"""What of a run goes together."""

import pytest

from segfocal.augment import Augment, EachSample
from segfocal.cli.compatibility import check_components
from segfocal.losses import CCDiceLoss, DiceLoss, WeightedSum
from segfocal.models import UNet
from segfocal.tasks import Semantic


def test_transforms_of_another_library_know_no_numbers_of_lesions():
    def task(loss):
        return Semantic(model=UNet(widths=(8, 8, 8)), criterion=WeightedSum({"a": loss}, {"a": 1.0}))

    check_components(task(CCDiceLoss()), Augment())
    check_components(task(DiceLoss()), EachSample(transform=dict))
    with pytest.raises(ValueError, match="expected augment=light, strong or none with a loss by lesion"):
        check_components(task(CCDiceLoss()), EachSample(transform=dict))
