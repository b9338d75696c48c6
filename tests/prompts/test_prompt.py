"""Prompts: what they hold and how they are extended."""

import torch

from segfocal.prompts import ABSENT, Prompt


def test_no_prompt_holds_nothing():
    prompt = Prompt.none(4, device=torch.device("cpu"))
    assert len(prompt) == 4
    assert (prompt.point_labels == ABSENT).all()
    assert prompt.boxes_xyxy.isnan().all()
    assert prompt.mask_logits is None


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
