"""Clicks: where they fall, and that a row depends on nothing but itself."""

import pytest
import torch

from segfocal.prompts import ABSENT, central_clicks_in, clicks_in, error_clicks
from tests.prompts.masks import blobs, generator, mask


def test_clicks_fall_uniformly_on_the_region():
    region = (mask((1, 1), (1, 8), (6, 0))[0] > 0).expand(3000, 7, 9)
    uniforms = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    xy, found = clicks_in(region, uniforms)
    assert found.all()
    places, counts = xy.unique(dim=0, return_counts=True)
    assert places.tolist() == [[0, 6], [1, 1], [8, 1]]
    assert (counts > 900).all()  # 1000 expected, standard deviation 26


@pytest.mark.parametrize("uniform", [0.0, 0.999999])
def test_extreme_draws_stay_inside_the_region(uniform):
    xy, found = clicks_in(mask((6, 8))[0] > 0, torch.tensor([uniform]))
    assert xy.tolist() == [[8, 6]]
    assert found.all()


def test_an_empty_region_gives_no_click():
    _, found = clicks_in(mask()[0] > 0, torch.tensor([0.5]))
    assert not found.any()


def test_corrections_are_positive_on_missed_target_negative_on_false_alarm_and_absent_when_all_is_right():
    target = torch.cat([mask((2, 3)), mask(), mask((4, 4))])
    logits = torch.where(torch.cat([mask(), mask((1, 6)), mask((4, 4))]) > 0, 5.0, -5.0)
    xy, labels = error_clicks(logits, target, torch.rand(3, generator=generator()))
    assert labels.tolist() == [1, 0, ABSENT]
    assert xy[:2].tolist() == [[3, 2], [6, 1]]


# Laws of every sampler: what it draws lies where it should, and a row depends on nothing but itself.

CLICKERS = {
    "uniform": clicks_in,
    "central": central_clicks_in,
    "errors": lambda region, draws: error_clicks(torch.where(region, -5.0, -9.0)[:, None], region[:, None], draws),
    "largest errors": lambda region, draws: error_clicks(
        torch.where(region, -5.0, -9.0)[:, None], region[:, None], draws, at="largest"
    ),
}


@pytest.mark.parametrize("clicker", CLICKERS)
@pytest.mark.parametrize("shape", [(6,), (6, 5)])
def test_clicks_lie_in_their_region(clicker, shape):
    region = blobs()
    xy, found = CLICKERS[clicker](region, torch.rand(shape, generator=generator()))
    assert xy.shape == (*shape, 2)
    x, y = xy.long().reshape(6, -1, 2).unbind(-1)
    hit = region[torch.arange(6)[:, None], y, x]
    assert hit[:-1].all()
    assert not hit[-1].any()  # the empty region
    assert torch.equal(found.reshape(6, -1)[:, 0] == 1, torch.tensor([True] * 5 + [False]))


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("clicker", CLICKERS)
def test_the_first_and_the_last_draw_lie_in_the_region_too(clicker, uniform):
    region = blobs(size=(64, 64))
    xy, _ = CLICKERS[clicker](region, torch.full((6, 2), uniform))
    x, y = xy.long().unbind(-1)
    assert region[torch.arange(6)[:, None], y, x][:-1].all()


@pytest.mark.parametrize("clicker", CLICKERS)
def test_a_row_is_the_same_in_whatever_batch(clicker):
    region, draws = blobs(), torch.rand(6, 3, generator=generator())
    together = CLICKERS[clicker](region, draws)
    for i in range(6):
        alone = CLICKERS[clicker](region[i : i + 1], draws[i : i + 1])
        assert torch.equal(alone[0][0], together[0][i])
        assert torch.equal(alone[1][0], together[1][i])


def test_several_clicks_begin_with_the_one():
    region, draws = blobs(), torch.rand(6, 3, generator=generator())
    assert torch.equal(clicks_in(region, draws)[0][:, 0], clicks_in(region, draws[:, 0])[0])


def test_central_clicks_come_in_proportion_to_the_distance_from_the_border():
    region = torch.zeros(1, 5, 7, dtype=torch.bool)
    region[0, 1:4, 1:6] = True  # 3 × 5 pixels: 12 at distance 1, three in the middle at distance 2
    uniforms = torch.rand(1, 6000, generator=generator())
    xy, _ = central_clicks_in(region, uniforms)
    middle = (xy[0, :, 1] == 2) & (xy[0, :, 0] > 1) & (xy[0, :, 0] < 5)
    assert middle.float().mean().item() == pytest.approx(6 / 18, abs=0.025)  # four standard deviations


def test_clicks_on_the_largest_errors_go_to_their_middles_in_order_of_size_then_anywhere_wrong():
    target = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    target[:, :, 1:6, 1:6] = 1  # missed: 25 pixels
    logits = torch.full((1, 1, 12, 12), -5.0)
    logits[:, :, 8:11, 8:11] = 5  # false alarm: 9 pixels
    xy, labels = error_clicks(logits, target, torch.rand(1, 4, generator=generator()), at="largest")
    assert xy[0, :2].tolist() == [[3, 3], [9, 9]]
    assert labels[0, :2].tolist() == [1, 0]
    wrong = (target[0, 0] > 0) | (logits[0, 0] > 0)
    assert all(wrong[int(y), int(x)] for x, y in xy[0, 2:])


def test_missed_target_and_false_alarm_that_touch_are_two_errors():
    target, logits = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), -5.0)
    target[:, :, 2:5, 0:3] = 1
    logits[:, :, 2:5, 3:8] = 5
    xy, labels = error_clicks(logits, target, torch.zeros(1, 2), at="largest")
    assert labels.tolist() == [[0, 1]]
    assert xy[0, 1].tolist() == [1, 3]
