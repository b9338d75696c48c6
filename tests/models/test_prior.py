"""Starting from the prior: where several structures share one bias."""

import math

import pytest
import torch

from segfocal.models import sam_tiny
from segfocal.models.prior import prior_logits


def test_a_promptable_model_of_several_structures_starts_from_the_mean_of_their_logits():
    model = sam_tiny(image_size=32, width=48, decoder_width=32, prior="auto").eval()
    logits = prior_logits("auto", [0.88, 0.1, 0.02], "sigmoid")
    model.start_from(logits)
    torch.manual_seed(0)
    with torch.no_grad():
        answer = model(torch.rand(2, 1, 32, 32))
    assert answer.mean().item() == pytest.approx(logits.mean().item(), abs=0.7)


def test_rates_of_nothing_and_of_everything_are_numbers_all_the_same():
    for link in ("sigmoid", "softmax"):
        logits = prior_logits("auto", [0.0, 0.0, 1.0], link)
        assert torch.isfinite(logits).all()
    assert prior_logits("auto", [1.0, 0.0], "sigmoid").item() == pytest.approx(math.log(1e-6), abs=1e-5)
