"""Prompts about volumes: pixels of every kind by hand count, and what is drawn lies where the target does."""

import math

import pytest
import torch

from segfocal.prompts import (
    ABSENT,
    Prompt,
    as_clicks_and_boxes,
    boxes_of,
    central_clicks_in,
    clicks_in,
    component_at,
    error_clicks,
    jitter_boxes,
    lassos_around,
    scribbles_in,
)
from segfocal.prompts.drawn_strokes import LASSO_DRAWS, SCRIBBLE_DRAWS
from segfocal.prompts.prompt_channels import KINDS, channels_of, draw_prompts
from segfocal.tasks import FirstPrompt

SIZE = (10, 20, 24)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def block(count=1, z=(2, 7), y=(4, 14), x=(5, 17)):
    target = torch.zeros(count, 1, *SIZE)
    target[:, :, slice(*z), slice(*y), slice(*x)] = 1
    return target


def none(count=1):
    return Prompt.none(count, device=torch.device("cpu"), axes=3)


def drawn(prompt, radius=3.0):
    return dict(zip(channels_of(KINDS), draw_prompts(prompt, SIZE, click_radius=radius).unbind(1), strict=True))


@pytest.mark.parametrize(("radius", "voxels"), [(0, 1), (1, 7), (1.5, 19), (2, 33), (3, 123)])
def test_a_click_is_a_ball_with_the_voxels_of_a_hand_count(radius, voxels):
    found = drawn(none().with_clicks(torch.tensor([[11.0, 9.0, 5.0]]), torch.ones(1, dtype=torch.long)), radius)
    ball = found["clicks inside"][0]
    assert ball.sum() == voxels
    assert ball[5, 9, 11] == 1
    assert not found["clicks outside"].any()


def test_a_box_is_its_voxels_and_an_absent_one_nothing():
    found = drawn(none(2).with_boxes(torch.tensor([[3.0, 4, 1, 9, 8, 2], [math.nan] * 6])))["box"]
    assert found.sum() == 6 * 4
    assert found[0, 1, 4:8, 3:9].all()


def test_a_box_goes_from_the_first_voxel_to_one_past_the_last():
    assert boxes_of(block()).tolist() == [[5, 4, 2, 17, 14, 7]]
    assert boxes_of(torch.zeros(1, 1, *SIZE)).isnan().all()


def test_jitter_moves_each_of_six_sides_by_at_most_its_reach():
    box = boxes_of(block()).expand(300, -1)
    moved = jitter_boxes(box, uniform(300, 6), pixels=1.0, share=0.2) - box
    reach = torch.tensor([2.4, 2.0, 1.0] * 2)  # a fifth of 12, 10 and 5, or a pixel
    assert (moved.abs() <= reach + 1e-4).all()
    assert (moved.abs().amax(0) > 0.9 * reach).all()


@pytest.mark.parametrize("clicker", [clicks_in, central_clicks_in])
def test_clicks_lie_in_the_target_and_reach_all_of_it(clicker):
    xyz, found = clicker(block(2000)[:, 0] > 0, uniform(2000))
    assert found.all()
    assert xyz.amin(0).tolist() == [5, 4, 2]
    assert xyz.amax(0).tolist() == [16, 13, 6]


def test_the_middle_of_the_largest_error_is_clicked():
    target = block()
    logits = torch.where(target > 0, 1.0, -1.0)
    logits[0, 0, 2:7, 4:9, 5:10] = -1.0  # missed: a cube of five
    logits[0, 0, 9, 18, 22] = 1.0
    xyz, labels = error_clicks(logits, target, uniform(1, 2), at="largest")
    assert xyz[0].tolist() == [[7, 6, 4], [22, 18, 9]]
    assert labels[0].tolist() == [1, 0]


def test_strokes_lie_in_the_slice_where_the_target_is_largest():
    region = block(4)[:, 0] > 0
    region[:, 5, 4:16, 5:20] = True
    for stroke in (
        scribbles_in(region, uniform(4, SCRIBBLE_DRAWS)),
        lassos_around(region, uniform(4, LASSO_DRAWS)),
    ):
        assert stroke.flatten(2).any(2).nonzero()[:, 1].tolist() == [5, 5, 5, 5]
    assert not lassos_around(torch.zeros(1, *SIZE, dtype=torch.bool), uniform(1, LASSO_DRAWS)).any()


def test_strokes_that_a_model_does_not_know_become_clicks_and_boxes():
    scribbles, lassos = torch.zeros(1, 2, *SIZE), torch.zeros(1, 2, *SIZE)
    scribbles[0, 0, 4, 6, 3:20] = 1
    lassos[0, 0, 3, 5:9, 6:12] = 1
    prompt = as_clicks_and_boxes(none().with_scribbles(scribbles).with_lassos(lassos))
    assert prompt.boxes_xyxy.tolist() == [[6, 5, 3, 12, 9, 4]]
    own = prompt.points_xy[0, prompt.point_labels[0] == 1]
    assert set(own[:, 1:].unique(dim=0).flatten().tolist()) == {6, 4}


def test_a_component_is_the_one_under_the_voxel():
    mask = (block()[:, 0] > 0) | (block(z=(8, 10), y=(16, 18), x=(20, 22))[:, 0] > 0)
    assert component_at(mask, torch.tensor([[21.0, 17.0, 9.0]])).sum() == 8
    assert not component_at(mask, torch.tensor([[0.0, 0.0, 0.0]])).any()


def first_drawn(count, seed=3):
    return uniform(count, sum(FirstPrompt.draws(3)), seed=seed)


def test_boxes_are_around_all_of_a_target_or_one_slice_of_it_thick():
    first = FirstPrompt(none=0, box=1, point=0, jitter_pixels=0, jitter_share=0, flat=0.25)
    boxes = first.draw(block(2000), first_drawn(2000)).boxes_xyxy
    thick = boxes[:, 5] - boxes[:, 2]
    assert set(thick.tolist()) == {1.0, 5.0}
    assert (thick == 1).float().mean() == pytest.approx(0.25, abs=0.04)
    assert set(boxes[thick == 1, 2].tolist()) == {2, 3, 4, 5, 6}
    assert (boxes[:, [0, 1, 3, 4]] == torch.tensor([5.0, 4, 17, 14])).all()


def test_a_flat_box_keeps_its_slice_when_its_sides_are_off():
    first = FirstPrompt(none=0, box=1, point=0, flat=1.0, shift_pixels=2.0)
    boxes = first.draw(block(200), first_drawn(200)).boxes_xyxy
    assert (boxes[:, 5] - boxes[:, 2] == 1).all()
    assert (boxes[:, 2] == boxes[:, 2].round()).all()
    moved = boxes[:, :2] - torch.tensor([5.0, 4.0])
    assert 3.0 < moved.abs().max() <= 2.0 + 2.0  # jitter and shift, not bounded by the slice's thickness


def test_flat_boxes_are_of_any_component():
    target = block(400)
    target[:, 0, 8:10, 16:19, 19:23] = 1
    first = FirstPrompt(none=0, box=1, point=0, box_of="random", jitter_pixels=0, jitter_share=0, flat=0.5)
    boxes = first.draw(target, first_drawn(400)).boxes_xyxy
    flat = boxes[:, 5] - boxes[:, 2] == 1
    for kind in (flat, ~flat):
        assert set(boxes[kind, 0].tolist()) == {5.0, 19.0}


def test_a_first_prompt_of_each_kind_is_about_the_target():
    kinds = {"point": 1.0, "scribble": 1.0, "lasso": 1.0}
    first = FirstPrompt(none=0, box=0, **kinds)
    target = block(60)
    prompt = first.draw(target, first_drawn(60), strokes=uniform(60, FirstPrompt.STROKE_DRAWS))
    clicked = prompt.point_labels[:, 0] == 1
    x, y, z = prompt.points_xy[clicked, 0].long().unbind(1)
    assert target[clicked, 0][torch.arange(len(x)), z, y, x].all()
    assert (
        prompt.scribbles[:, 0].flatten(1).any(1).sum() + prompt.lassos[:, 0].flatten(1).any(1).sum() == (~clicked).sum()
    )
    empty = FirstPrompt(none=0, box=1, point=0, empty="background").draw(torch.zeros(9, 1, *SIZE), first_drawn(9))
    assert empty.boxes_xyxy.isnan().all()
    assert (empty.point_labels == 0).all()
    assert (none().point_labels == ABSENT).all()


@pytest.mark.parametrize("flat", [-0.1, 1.1, "half"])
def test_a_share_of_flat_boxes_out_of_range_is_told(flat):
    with pytest.raises(ValueError, match=r"expected task\.first\.flat from 0 to 1"):
        FirstPrompt(flat=flat)
