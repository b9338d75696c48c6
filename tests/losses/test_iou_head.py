"""The IoU head's loss: hard and soft IoU, and what its gradient reaches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segfocal.losses import IoUHeadLoss
from tests.losses.pairs import law, predictions, seeds

# SAM-Med2D adds 1e-12 (focal) inside its logarithms, we add nothing: its own rounding, well inside the 1e-6 asked.
REFERENCE = {"rel": 1e-6, "abs": 1e-12}


def test_iou_head_is_judged_by_the_hard_iou_of_each_mask_without_touching_the_mask():
    x = torch.tensor([[[[9.0, 9.0, -9.0]]], [[[-9.0, -9.0, -9.0]]]], requires_grad=True)
    t = torch.tensor([[[[1, 0, 0]]], [[[0, 0, 0]]]])
    guess = torch.tensor([[0.5], [1.0]], requires_grad=True)  # exactly the IoUs: a half, and both empty
    loss = IoUHeadLoss()(x, t, guess)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is None


def test_soft_iou_head_loss_equals_sam_med2d(case):
    loss = IoUHeadLoss(soft_batch=True)(case["x"], case["t"].bool(), case["iou"])
    assert loss.item() == pytest.approx(case["mask_iou_mse"], **REFERENCE)


def test_the_iou_head_learns_through_its_guess_and_only_the_soft_form_moves_the_mask():
    for soft_batch in (False, True):
        x, t, guess = predictions(2, 2, 3, 4)
        IoUHeadLoss(soft_batch)(x.requires_grad_(), t, guess.requires_grad_()).backward()
        assert (guess.grad != 0).all()
        assert (x.grad is not None) is soft_batch


@given(seed=seeds)
@law
def test_the_soft_iou_head_is_asked_for_one_iou_of_the_whole_batch(seed):
    x, t, guess = predictions(3, 2, 4, 5, seed=seed)
    p = torch.sigmoid(x)
    iou = (p * t).sum() / (p + t - p * t).sum()
    expected = (guess - iou).square().mean()
    # SAM-Med2D adds 1e-7 above and below
    torch.testing.assert_close(IoUHeadLoss(soft_batch=True)(x, t, guess), expected, rtol=1e-6, atol=1e-9)


@given(seed=seeds, factor=st.floats(0.01, 100))
@law
def test_the_hard_iou_head_sees_only_the_sign_of_logits(seed, factor):
    x, t, guess = predictions(3, 2, 4, 5, seed=seed)
    torch.testing.assert_close(IoUHeadLoss()(x * factor, t, guess), IoUHeadLoss()(x, t, guess), rtol=0, atol=0)


@pytest.mark.parametrize("guess", [(3,), (1, 2), (3, 1), (3, 2, 1), (2, 3)], ids=str)
def test_a_predicted_iou_for_other_masks_is_refused(guess):
    x, t, _ = predictions(3, 2, 4, 5)
    for soft_batch in (False, True):
        with pytest.raises(ValueError, match="expected"):
            IoUHeadLoss(soft_batch)(x, t, torch.zeros(guess))
