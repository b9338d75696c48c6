"""Our losses against numbers computed by SAM-Med2D's own code (tests/reference/sammed2d_losses.json, float64)."""

import json

import pytest
import torch

from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from tests import ROOT

CASES = json.loads((ROOT / "tests" / "reference" / "sammed2d_losses.json").read_text())
# The reference adds 1e-12 (focal) inside its logarithms, we add nothing: its own rounding, well inside the 1e-6 asked.
CLOSE = {"rel": 1e-6, "abs": 1e-12}


@pytest.fixture(params=CASES, ids=lambda case: f"{case['shape']}-g{case['gamma']}-a{case['alpha']}")
def case(request):
    raw = dict(request.param)
    shape = raw["shape"]
    raw["x"] = torch.tensor(raw["logits"], dtype=torch.float64).reshape(shape).requires_grad_()
    raw["t"] = torch.tensor(raw["mask"]).reshape(shape)
    raw["iou"] = torch.tensor(raw["pred_iou"], dtype=torch.float64).reshape(-1, 1)
    return raw


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.float64])
def test_focal_and_its_gradient_equal_sam_med2d(case, dtype):
    loss = FocalLoss(gamma=case["gamma"], alpha=case["alpha"])(case["x"], case["t"].to(dtype))
    (gradient,) = torch.autograd.grad(loss, case["x"])
    expected = torch.tensor(case["focal_grad"], dtype=torch.float64).reshape(gradient.shape)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(case["focal"], **CLOSE)
    # Relative to the largest gradient: single entries are zero up to the reference's epsilon.
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


def test_batch_dice_and_its_gradient_equal_sam_med2d(case):
    loss = DiceLoss(smooth=1.0, batch=True)(case["x"], case["t"].to(torch.uint8))
    (gradient,) = torch.autograd.grad(loss, case["x"])
    expected = torch.tensor(case["dice_batch_grad"], dtype=torch.float64).reshape(gradient.shape)
    assert loss.item() == pytest.approx(case["dice_batch"], **CLOSE)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


def test_soft_iou_head_loss_equals_sam_med2d(case):
    loss = IoUHeadLoss(soft_batch=True)(case["x"], case["t"].bool(), case["iou"])
    assert loss.item() == pytest.approx(case["mask_iou_mse"], **CLOSE)


def test_their_total_is_twenty_focal_plus_dice_plus_iou(case):
    terms = {"focal": FocalLoss(2.0, 0.25), "dice": DiceLoss(batch=True), "iou_head": IoUHeadLoss(soft_batch=True)}
    criterion = WeightedSum(terms, {"focal": 20.0, "dice": 1.0, "iou_head": 1.0})
    report = criterion(case["x"], case["t"].to(torch.uint8), case["iou"])
    assert report.total.item() == pytest.approx(case["total_gamma2_alpha025_20_1_1"], **CLOSE)
