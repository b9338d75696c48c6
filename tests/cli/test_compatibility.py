"""What of a run goes together."""

import pytest

from segfocal.augment import Augment, EachSample
from segfocal.cli.compatibility import check_components, check_validation
from segfocal.cli.weights import first_weights
from segfocal.engine.settings import TrainingSettings
from segfocal.losses import CCDiceLoss, DiceLoss, WeightedSum
from segfocal.models import UNet, lite_medsam
from segfocal.tasks import Semantic


def test_transforms_of_another_library_know_no_numbers_of_lesions():
    def task(loss):
        return Semantic(model=UNet(widths=(8, 8, 8)), criterion=WeightedSum({"a": loss}, {"a": 1.0}))

    check_components(task(CCDiceLoss()), Augment())
    check_components(task(DiceLoss()), EachSample(transform=dict))
    with pytest.raises(ValueError, match="expected augment=light, strong or none with a loss by lesion"):
        check_components(task(CCDiceLoss()), EachSample(transform=dict))


@pytest.mark.parametrize("option", [{"keep": "best"}, {"patience": 2}, {"schedule": "plateau"}])
def test_validation_decides_nothing_about_a_correction_decoder(option):
    correcting, plain = (lite_medsam(image_size=32, correction_decoder=one) for one in (True, False))
    check_validation(correcting, TrainingSettings())
    check_validation(plain, TrainingSettings(**option))
    with pytest.raises(ValueError, match=next(iter(option))):
        check_validation(correcting, TrainingSettings(**option))


def test_a_correction_decoder_needs_weights_but_for_a_run_that_goes_on():
    model = lite_medsam(image_size=32, correction_decoder=True)
    plain = {"model": {"weights": None, "correction_decoder": True}, "resume": None}
    with pytest.raises(ValueError, match=r"expected model\.weights with model\.correction_decoder=true"):
        first_weights(plain, model)
    assert first_weights(plain | {"resume": "runs/before"}, model) is None
