"""Semantic training: one loss of one forward pass."""

from dataclasses import replace

import pytest
import torch

from segfocal.losses import CCDiceLoss, IoUHeadLoss, WeightedSum
from segfocal.models import UNet
from segfocal.tasks import Semantic
from tests.tasks.models import batch, criterion, tiny


def test_the_loss_is_the_criterion_of_the_logits():
    unet = UNet(widths=(8, 16, 16))
    plain = batch()
    torch.testing.assert_close(
        Semantic(model=unet, criterion=criterion())(plain).total, criterion()(unet(plain.image), plain.target).total
    )


def test_a_model_needs_a_channel_for_each_structure():
    with pytest.raises(ValueError, match="model=unet"):
        Semantic(model=tiny(), criterion=criterion()).check_structures(2)
    Semantic(model=UNet(widths=(8, 16, 16), classes=2), criterion=criterion()).check_structures(2)


def test_a_loss_of_the_predicted_iou_needs_a_promptable_task():
    with pytest.raises(ValueError, match="task=promptable"):
        Semantic(model=tiny(), criterion=WeightedSum({"i": IoUHeadLoss()}, {"i": 1.0}))


def test_a_loss_by_lesion_gets_the_cells_of_the_batch():
    unet, plain = UNet(widths=(8, 16, 16)), batch()
    cells = (torch.arange(32) > 10).int().expand(plain.target.shape)
    by_lesion = criterion(lesions=CCDiceLoss())
    expected = by_lesion(unet(plain.image), plain.target, cells=cells).total
    task = Semantic(model=unet, criterion=by_lesion)
    torch.testing.assert_close(task(replace(plain, cells=cells)).total, expected)
    with pytest.raises(ValueError, match="expected the cells of the target's components for CCDiceLoss; got none"):
        task(plain)
