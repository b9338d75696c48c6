"""The threshold chosen out of fold."""

import numpy as np
import pytest
import torch

from segfocal.cross_validate.operating_point import CANDIDATES, choose
from segfocal.models import UNet


def curves(*peaks):
    """Return a Dice curve a case, highest at its peak."""
    return np.array([[1 - abs(threshold - peak) for threshold in CANDIDATES] for peak in peaks])


def test_the_threshold_with_the_best_mean_dice_is_chosen():
    choice = choose("aorta", curves(0.2, 0.3, 0.25))
    assert choice.threshold == 0.25
    assert choice.dice_at_half == pytest.approx(0.75)
    assert choice.dice == pytest.approx((0.95 + 0.95 + 1) / 3)


def test_a_gain_that_is_noise_keeps_one_half():
    flat = np.full((3, len(CANDIDATES)), 0.8)
    flat[:, 2] += 0.009
    assert choose("liver", flat).threshold == 0.5


def test_a_threshold_that_one_case_alone_asks_for_is_not_chosen():
    """Measured on three aortas: 0.05 raised the mean by 0.02, all of it in one case."""
    rising = np.linspace(0.02, 0, len(CANDIDATES))
    others = np.stack([0.6 - rising, 0.88 - rising])  # both lose a little below one half
    alone = np.linspace(0.25, 0.13, len(CANDIDATES))[None]
    choice = choose("aorta", np.concatenate([others, alone]))
    assert choice.threshold == 0.5
    assert choice.dice == choice.dice_at_half
    assert choice.dice_nested < choice.dice_at_half


def test_a_gain_by_the_others_choice_that_is_noise_keeps_one_half():
    dice = np.full((3, len(CANDIDATES)), 0.5)
    dice[0, 2] += 0.06  # without it the others gain less than what is noise, and keep one half
    dice[1:, 2] += 0.009
    choice = choose("aorta", dice)
    assert 0 < choice.dice_nested - choice.dice_at_half < 0.01
    assert choice.threshold == 0.5


def test_one_case_alone_keeps_one_half():
    assert choose("aorta", curves(0.2)).threshold == 0.5


def test_the_nested_dice_gives_each_case_what_the_others_choose():
    choice = choose("aorta", curves(0.2, 0.4))
    assert choice.dice_nested == pytest.approx(0.8)  # each is off by 0.2
    assert choose("aorta", curves(0.2)).dice_nested == pytest.approx(0.7)  # no other case: one half


def test_moving_the_logits_by_a_threshold_makes_it_one_half():
    torch.manual_seed(0)
    model = UNet(widths=(4, 4, 4), classes=2).eval()
    image = torch.rand(1, 1, 16, 16)
    before = model(image)
    cut = torch.tensor([0.3, 0.7]).logit()
    assert model.move_logits(-cut)
    after = model(image)
    assert torch.equal(after > 0, before - cut[None, :, None, None] > 0)
    torch.testing.assert_close(after, before - cut[None, :, None, None])
