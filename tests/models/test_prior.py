"""Starting from the prior: where several structures share one bias."""

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
    assert answer.mean().item() == pytest.approx(logits.mean().item(), abs=0.15)
