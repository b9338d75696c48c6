"""Boxes and clicks drawn from targets."""

import pytest
import torch

from segfocal.prompts import ABSENT, Prompt, boxes_of, clicks_in, error_clicks, jitter_boxes


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
