"""Fixtures of several loss tests: both forms of the one pass, and numbers computed by SAM-Med2D's own code."""

import json

import pytest
import torch

from tests import ROOT

CASES = json.loads((ROOT / "tests" / "reference" / "sammed2d_losses.json").read_text())  # float64


@pytest.fixture(params=["eager", "as compiled"])
def form(request, monkeypatch):
    """Both forms of the one pass; what a compiler would see is run as it stands, without waiting for one."""
    if request.param == "as compiled":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


@pytest.fixture(params=CASES, ids=lambda case: f"{case['shape']}-g{case['gamma']}-a{case['alpha']}")
def case(request):
    """Logits x, mask t and predicted iou of one reference case, and SAM-Med2D's losses and gradients by name."""
    raw = dict(request.param)
    shape = raw["shape"]
    raw["x"] = torch.tensor(raw["logits"], dtype=torch.float64).reshape(shape).requires_grad_()
    raw["t"] = torch.tensor(raw["mask"]).reshape(shape)
    raw["iou"] = torch.tensor(raw["pred_iou"], dtype=torch.float64).reshape(-1, 1)
    return raw
