"""Boxes of masks, and boxes that are off."""

import torch

from segfocal.prompts import boxes_of, jitter_boxes, shift_boxes
from tests.prompts.masks import generator, mask


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
    assert jitter_boxes(boxes, torch.rand(2, 4, generator=generator()), pixels=2, share=0.1).isnan().all()
    assert shift_boxes(boxes, torch.rand(2, 2, generator=generator()), pixels=5).isnan().all()
