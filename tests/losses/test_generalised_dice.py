"""Generalised Dice: how it weighs classes, by hand; its laws are those of test_dice_iou_tversky and test_laws."""

import pytest
import torch

from segfocal.losses import GeneralisedDiceLoss
from tests.losses.pairs import losses_and_gradients


def test_generalised_dice_weighs_a_missing_class_as_the_rarest_or_not_at_all():
    # Over 4 pixels with p of 1/2, 1/4, 1/4 each: class 0 has 3 pixels, class 1 has one, class 2 none.
    x = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().reshape(1, 3, 1).expand(1, 3, 4)
    index = torch.tensor([[0, 0, 0, 1]])
    above = 2 * (1.5 / 9 + 0.25) + 1  # weights 1/9 and 1: the rarest has one pixel
    below = (2 + 3) / 9 + (1 + 1) + 1
    for empty, weight in (("smooth", 1), ("skip", 0)):
        loss = GeneralisedDiceLoss(empty=empty, link="softmax")(x, index)
        assert loss.item() == pytest.approx(1 - above / (below + weight * 1), rel=1e-12)


def test_generalised_dice_of_an_empty_mask_judges_what_is_left_of_it():
    # p is 1/4 on each of 4 pixels: the complement has Σp·t = 3, Σp = 3 and Σt = 4.
    x, t = torch.tensor([1 / 3], dtype=torch.float64).log().expand(1, 1, 4), torch.zeros(1, 1, 4, dtype=torch.bool)
    for empty, weight in (("smooth", 1), ("skip", 0)):
        expected = 1 - (2 * 3 + 1) / (3 + 4 + weight * 1 + 1)  # and the mask itself Σp = 1
        for value, gradient in losses_and_gradients(GeneralisedDiceLoss(empty=empty), x, t):
            assert value.item() == pytest.approx(expected, rel=1e-12)
            assert (gradient > 0).all()
