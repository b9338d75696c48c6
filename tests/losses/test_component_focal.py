"""Focal loss weighed by the size of components: what the weights sum to, and what they are at their ends."""

import pytest
import torch

from segfocal.losses import ComponentFocalLoss, FocalLoss, WeightedSum
from segfocal.losses.component_focal import component_weights
from tests.losses.pairs import CLOSE
from tests.losses.test_component_sums import blobs, with_gradient


def test_at_power_0_it_is_focal():
    for options in ({}, {"gamma": 0.5, "alpha": [0.3, 0.8]}, {"gamma": 0.0, "alpha": None}):
        x, t, cells = blobs()
        ours = with_gradient(ComponentFocalLoss(0.0, **options), x, t, cells)
        for found, expected in zip(ours, with_gradient(FocalLoss(**options), x, t), strict=True):
            torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0])
def test_it_is_focal_with_a_weight_a_pixel(power):
    x, t, cells = blobs(seed=2)
    weights = torch.ones_like(x)
    for k in range(2):
        sizes = torch.zeros_like(x[:, k])
        for b in range(2):
            for number in cells[b, k][t[b, k]].unique():
                here = t[b, k] & (cells[b, k] == number)
                sizes[b][here] = here.sum().double()
        inside = t[:, k]
        raw = sizes[inside] ** -power
        weights[:, k][inside] = raw * inside.sum() / raw.sum()
    expected = (weights * FocalLoss(gamma=1.5, alpha=0.8, reduction="none")(x, t)).mean()
    torch.testing.assert_close(ComponentFocalLoss(power, 1.5, 0.8)(x, t, cells), expected, **CLOSE)


def test_weights_by_hand():
    sizes = torch.tensor([[[0.0, 1, 9]], [[0, 0, 90]]], dtype=torch.float64)  # one structure, 100 pixels
    assert component_weights(sizes, 0.0).tolist() == [[[0, 1, 1]], [[0, 0, 1]]]
    third = 100 / 3
    expected = torch.tensor([[[0, third, third / 9]], [[0, 0, third / 90]]], dtype=torch.float64)
    torch.testing.assert_close(component_weights(sizes, 1.0), expected)
    for power in (0.0, 0.5, 1.7):
        assert abs((component_weights(sizes, power) * sizes).sum().item() - 100) < 1e-9
    assert component_weights(torch.zeros(2, 3, 4), 1.0).equal(torch.zeros(2, 3, 4))


def test_its_weights_span_the_batch_unless_all_are_one():
    for power, names in ((0.0, []), (0.5, ["a"])):
        assert WeightedSum({"a": ComponentFocalLoss(power)}, {"a": 1.0}).spanning_batch == names


def test_an_option_out_of_range_is_refused():
    for power in (-0.1, 2.1, float("nan")):
        with pytest.raises(ValueError, match=r"expected power in \[0,2\]"):
            ComponentFocalLoss(power)
    with pytest.raises(ValueError, match="expected gamma ≥ 0"):
        ComponentFocalLoss(gamma=-1)
