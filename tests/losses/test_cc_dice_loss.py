"""CC-Dice loss: by hand, and against the Dice loss called on the pixels of each cell."""

import math

import pytest
import torch

from segfocal.losses import CCDiceLoss, CrossEntropyLoss, DiceLoss
from tests.losses.pairs import CLOSE
from tests.losses.test_component_sums import blobs, with_gradient


def each_cell(x, t, cells):
    """Yield logits and target [1,1,n] of each cell that holds a pixel of the target."""
    for one_x, one_t, one in zip(x.flatten(0, 1), t.flatten(0, 1), cells.flatten(0, 1), strict=True):
        for number in one[one_t].unique():
            here = one == number
            yield one_x[here][None, None], one_t[here][None, None]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_it_is_the_mean_of_the_losses_of_the_cells(seed, weight):
    x, t, cells = blobs(seed=seed)
    parts = list(each_cell(x, t, cells))
    assert len(parts) > 3
    expected = [DiceLoss(smooth=0.3)(*part) + weight * CrossEntropyLoss()(*part) for part in parts]
    loss = CCDiceLoss(smooth=0.3, cross_entropy=weight)
    torch.testing.assert_close(loss(x, t, cells), torch.stack(expected).mean(), **CLOSE)


def test_two_lesions_by_hand():
    """Lesions of 1 and of 3 pixels; the small one is missed, half a pixel is claimed beside the large one."""
    t = torch.tensor([[[1, 0, 0, 1, 1, 1]]])
    cells = torch.tensor([[[1, 1, 2, 2, 2, 2]]])
    p = torch.tensor([[[1e-12, 1e-12, 0.5, 1 - 1e-12, 1 - 1e-12, 1 - 1e-12]]], dtype=torch.float64)
    small, large = 1 - 1 / 2, 1 - (2 * 3 + 1) / (3.5 + 3 + 1)
    found = CCDiceLoss()(torch.logit(p), t, cells).item()
    assert math.isclose(found, (small + large) / 2, rel_tol=1e-9)


def test_a_lesion_counts_the_same_whatever_its_size():
    """Missing the lesion of 2 pixels and missing that of 200 costs the same but for the smooth; plain Dice differs."""
    t = torch.zeros(1, 1, 20, 40, dtype=torch.bool)
    t[..., 5:15, 5:25], t[..., 9, 35:37] = True, True
    cells = torch.where(torch.arange(40) < 30, 1, 2).expand(t.shape)
    sure = torch.where(t, 30.0, -30.0).double()
    costs = [CCDiceLoss(smooth=1e-6)(torch.where(cells == number, -30.0, sure), t, cells).item() for number in (1, 2)]
    torch.testing.assert_close(costs, [0.5, 0.5], rtol=0, atol=1e-6)


def test_a_crop_takes_lesions_away_and_a_cell_without_its_lesion_costs_nothing_or_its_mean():
    x, t, cells = blobs(seed=3)
    x, t, cells = x[..., :6], t[..., :6], cells[..., :6].clone()
    cells[..., 5] = 77  # of a lesion beyond the crop
    t[..., 5] = False
    value, gradient = with_gradient(CCDiceLoss(), x, t, cells)
    torch.testing.assert_close(value, torch.stack([DiceLoss()(*one) for one in each_cell(x, t, cells)]).mean(), **CLOSE)
    assert (gradient[..., 5] == 0).all()
    parts = [DiceLoss()(*one) for one in each_cell(x, t, cells)]
    for one_x, one_t, one in zip(x.flatten(0, 1), t.flatten(0, 1), cells.flatten(0, 1), strict=True):
        left = ~torch.isin(one, one[one_t])
        parts.append(one_x[left].sigmoid().mean())
    torch.testing.assert_close(CCDiceLoss(empty="include")(x, t, cells), torch.stack(parts).mean(), **CLOSE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"smooth": 0}, "expected smooth > 0"),
        ({"cross_entropy": -1}, "cross_entropy ≥ 0"),
        ({"cross_entropy": math.nan}, "cross_entropy ≥ 0"),
        ({"empty": "smooth"}, "expected empty skip or include; got 'smooth'"),
    ],
)
def test_an_option_out_of_range_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        CCDiceLoss(**options)
