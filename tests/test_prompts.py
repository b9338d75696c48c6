"""Boxes and clicks drawn from targets."""

import pytest
import torch

from segfocal.prompts import (
    ABSENT,
    Prompt,
    boxes_of,
    central_clicks_in,
    clicks_in,
    component_of,
    depth_of,
    error_clicks,
    jitter_boxes,
    shift_boxes,
)


def generator():
    return torch.Generator().manual_seed(0)


def blobs(count=6, size=(23, 31)):
    """Return random masks [count,h,w] of several components each, the last one empty."""
    noise = torch.rand(count, *size, generator=generator())
    out = torch.nn.functional.avg_pool2d(noise[:, None], 3, stride=1, padding=1)[:, 0] > 0.55
    out[-1] = False
    return out


def mask(*pixels, size=(7, 9)):
    out = torch.zeros(1, 1, *size, dtype=torch.uint8)
    for y, x in pixels:
        out[0, 0, y, x] = 1
    return out


def test_a_box_goes_from_the_first_pixel_to_one_past_the_last():
    assert boxes_of(mask((2, 3), (5, 4))).tolist() == [[3, 2, 5, 6]]


def test_a_box_at_the_border_is_whole():
    assert boxes_of(mask((0, 0), (6, 8))).tolist() == [[0, 0, 9, 7]]


def test_an_empty_mask_has_no_box():
    assert boxes_of(mask()).isnan().all()


def test_jitter_moves_each_side_by_at_most_its_reach_and_never_turns_a_box_inside_out():
    uniforms = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([10.0, 20, 50, 24]).expand(500, 4)
    moved = jitter_boxes(boxes, uniforms, pixels=3, share=0.1)
    reach = torch.tensor([4.0, 3, 4, 3])  # a tenth of the 40 pixels of width; 3 pixels where that is more
    assert ((moved - boxes).abs() <= reach + 1e-4).all()
    assert (moved[:, 2:] > moved[:, :2]).all()
    assert (moved - boxes).std(0).min() > 1


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
    xy, labels = error_clicks(logits, target, torch.rand(3))
    assert labels.tolist() == [1, 0, ABSENT]
    assert xy[:2].tolist() == [[3, 2], [6, 1]]


def test_no_prompt_holds_nothing():
    prompt = Prompt.none(4, device=torch.device("cpu"))
    assert len(prompt) == 4
    assert (prompt.point_labels == ABSENT).all()
    assert prompt.boxes_xyxy.isnan().all()
    assert prompt.mask_logits is None


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


def test_depth_is_the_distance_to_the_nearest_pixel_outside_which_beyond_the_image_is():
    region = torch.zeros(1, 4, 5, dtype=torch.bool)
    region[0, :3, :3] = True
    assert depth_of(region)[0].tolist() == [[1, 1, 1, 0, 0], [1, 2, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def brute_depth(region):
    padded = torch.nn.functional.pad(region, (1, 1, 1, 1))
    outside = (~padded).nonzero().double()
    depth = torch.zeros(region.shape)
    for y, x in region.nonzero().tolist():
        depth[y, x] = (outside - torch.tensor([y + 1.0, x + 1.0])).square().sum(1).min().sqrt()
    return depth


def test_depth_equals_that_of_all_pairs_of_pixels():
    region = blobs(size=(11, 13))
    for one, depth in zip(region, depth_of(region), strict=True):
        torch.testing.assert_close(depth, brute_depth(one))


@pytest.mark.parametrize("which", ["largest", "random"])
def test_a_component_is_a_connected_part_of_its_mask_that_nothing_touches(which):
    region = blobs()
    part = component_of(region, torch.rand(6, generator=generator()), which=which)
    assert (region | ~part).all()
    near = torch.nn.functional.max_pool2d(part[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    assert not (near & region & ~part).any()
    assert part[:-1].flatten(1).any(1).all()
    assert not part[-1].any()


def test_the_largest_component_is_the_largest_and_random_ones_are_equally_likely():
    one = mask((1, 1), (4, 4), (4, 5), (5, 6), (1, 8))[:, 0] > 0  # the three in the middle touch, two by a corner
    largest = component_of(one, torch.zeros(1), which="largest")
    assert boxes_of(largest[:, None]).tolist() == [[4, 4, 7, 6]]
    draws = torch.rand(900, generator=generator())
    drawn = component_of(one.expand(900, -1, -1), draws, which="random")
    _, counts = boxes_of(drawn[:, None]).unique(dim=0, return_counts=True)
    assert len(counts) == 3
    assert (counts > 250).all()  # 300 expected, standard deviation 14


def test_the_box_of_a_component_contains_it_and_lies_in_that_of_the_target():
    region = blobs()[:-1]
    part = component_of(region, torch.rand(5, generator=generator()), which="random")
    inner, outer = boxes_of(part[:, None]), boxes_of(region[:, None])
    assert (inner[:, :2] >= outer[:, :2]).all()
    assert (inner[:, 2:] <= outer[:, 2:]).all()
    for one, (x0, y0, x1, y1) in zip(part, inner.int().tolist(), strict=True):
        assert one[y0:y1, x0:x1].sum() == one.sum()


def test_a_shifted_box_keeps_its_size_and_moves_by_at_most_its_reach():
    uniforms = torch.rand(500, 2, generator=generator())
    for box, reach in (([10.0, 20, 50, 40], 5.0), ([10.0, 20, 50, 24], 2.0)):  # five pixels, half the shorter side
        boxes = torch.tensor(box).expand(500, 4)
        moved = shift_boxes(boxes, uniforms, pixels=5)
        torch.testing.assert_close(moved[:, 2:] - moved[:, :2], boxes[:, 2:] - boxes[:, :2])
        assert ((moved - boxes).abs() <= reach + 1e-4).all()
        assert (moved - boxes).abs().amax(0).min() > 0.95 * reach


def test_boxes_of_empty_targets_stay_absent_when_moved():
    boxes = torch.full((2, 4), torch.nan)
    assert jitter_boxes(boxes, torch.rand(2, 4), pixels=2, share=0.1).isnan().all()
    assert shift_boxes(boxes, torch.rand(2, 2), pixels=5).isnan().all()


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


def test_clicks_are_added_one_or_several_at_a_time_or_take_the_place_of_everything_else():
    prompt = Prompt.none(2, device=torch.device("cpu")).with_boxes(torch.ones(2, 4)).with_mask(torch.ones(2, 1, 4, 4))
    assert prompt.with_clicks(torch.zeros(2, 2), torch.ones(2).long()).point_labels.tolist() == [[ABSENT, 1]] * 2
    three = prompt.with_clicks(torch.zeros(2, 3, 2), torch.ones(2, 3).long())
    assert three.points_xy.shape == (2, 4, 2)
    alone = three.only_clicks(torch.zeros(2, 3, 2), torch.zeros(2, 3).long())
    assert alone.point_labels.tolist() == [[0, 0, 0]] * 2
    assert alone.boxes_xyxy.isnan().all()
    assert alone.has_mask.all()
    bare = three.only_mask()
    assert (bare.point_labels == ABSENT).all()
    assert bare.boxes_xyxy.isnan().all()
    assert bare.mask_logits is three.mask_logits
