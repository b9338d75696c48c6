"""The exponential moving average of the weights."""

import pytest
from torch import nn

from segfocal.engine.averaged_weights import make_average


def test_the_average_forgets_the_start_and_then_decays_as_asked():
    model = nn.Linear(1, 1, bias=False)
    average = make_average(model, 0.9)
    expected = None
    for count in range(200):
        nn.init.constant_(model.weight, float(count))
        average.update_parameters(model)
        decay = min(0.9, (1 + count) / (10 + count))
        expected = float(count) if expected is None else decay * expected + (1 - decay) * count
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
