"""Which prompt comes in which round."""

import pytest
import torch

from segfocal.models import Answer
from segfocal.prompts import ABSENT, Prompt
from segfocal.tasks import RoundPlan
from segfocal.tasks.rounds import Correction

SAM_MED2D = RoundPlan(clicks=[1, 3, 5, 9], keep=False, mask_only=["random", "last"])


def uniforms(seed, count=9):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)).tolist()


def test_by_default_every_round_adds_one_click():
    assert RoundPlan().corrections(4, uniforms(0, 4)) == [Correction(1, False)] * 3
    assert RoundPlan().corrections(1, uniforms(0, 1)) == []


def test_sam_med2d_clicks_one_three_five_or_nine_times_and_twice_shows_the_mask_alone():
    alone, many = [], []
    for seed in range(600):
        corrections = SAM_MED2D.corrections(9, uniforms(seed))
        assert len(corrections) == 8
        alone.append([number for number, correction in enumerate(corrections, start=2) if correction.mask_only])
        assert all((correction.clicks == 0) == correction.mask_only for correction in corrections)
        many += [correction.clicks for correction in corrections if correction.clicks]
    assert all(len(rounds) == 2 and rounds[1] == 9 for rounds in alone)
    first = [rounds[0] for rounds in alone]
    assert {n: first.count(n) > 60 for n in set(first)} == dict.fromkeys(range(3, 9), True)  # 100 each expected
    assert all(0.2 < many.count(n) / len(many) < 0.3 for n in (1, 3, 5, 9))


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-53])
def test_extreme_draws_stay_within_the_plan(extreme):
    corrections = SAM_MED2D.corrections(9, [extreme] * 9)
    assert sum(correction.mask_only for correction in corrections) == 2
    assert {correction.clicks for correction in corrections} == {0, 9 if extreme else 1}


def test_rounds_by_number_get_the_mask_alone():
    corrections = RoundPlan(mask_only=[2, 4]).corrections(5, uniforms(0, 5))
    assert [correction.mask_only for correction in corrections] == [True, False, True, False]


def prompt_and_answer():
    prompt = Prompt.none(2, device=torch.device("cpu")).with_boxes(torch.tensor([[1.0, 1, 5, 5]] * 2))
    target = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    target[:, :, 2:5, 2:5] = 1
    logits = torch.full((2, 1, 8, 8), -3.0, requires_grad=True)
    return prompt, Answer(logits, torch.randn(2, 1, 4, 4, requires_grad=True), torch.zeros(2, 1)), target


@pytest.mark.parametrize("keep", [True, False])
def test_a_correction_brings_the_mask_and_clicks_on_errors_and_keeps_the_rest_or_not(keep):
    prompt, answer, target = prompt_and_answer()
    following = RoundPlan(clicks=[3], keep=keep).corrected(
        prompt, answer, target, Correction(3, False), torch.rand(2, 5)
    )
    assert following.point_labels.tolist() == [[ABSENT, 1, 1, 1] if keep else [1, 1, 1]] * 2
    assert following.boxes_xyxy.isfinite().all() == keep
    assert torch.equal(following.mask_logits, answer.low_res_logits)
    assert not following.mask_logits.requires_grad
    assert following.has_mask.all()


def test_a_round_with_the_mask_alone_draws_no_clicks_and_loses_none():
    prompt, answer, target = prompt_and_answer()
    following = RoundPlan().corrected(prompt, answer, target, Correction(0, True), torch.rand(2, 1))
    assert torch.equal(following.points_xy, prompt.points_xy)
    assert torch.equal(following.mask_logits, answer.low_res_logits)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clicks": []}, "task.plan.clicks"),
        ({"clicks": [1, 0]}, "task.plan.clicks"),
        ({"clicks": [1.5]}, "task.plan.clicks"),
        ({"click_at": "centre"}, "task.plan.click_at uniform or largest"),
        ({"mask_only": [1]}, "task.plan.mask_only"),
        ({"mask_only": ["first"]}, "task.plan.mask_only .* got 'first'"),
    ],
)
def test_an_option_out_of_range_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        RoundPlan(**options)


@pytest.mark.parametrize(("mask_only", "least"), [("last", 2), ("random", 4), (5, 5), ([2, "random", 3], 4)])
def test_a_plan_says_how_many_rounds_it_needs(mask_only, least):
    plan = RoundPlan(mask_only=mask_only)
    plan.check(least)
    with pytest.raises(ValueError, match=f"task.rounds ≥ {least}"):
        plan.check(least - 1)


def errors():
    """Return an answer that misses a bar and raises a false alarm, each of 2 samples, and the click on one of them."""
    target = torch.zeros(2, 1, 24, 24, dtype=torch.uint8)
    target[:, :, 4:9, 2:22] = 1
    logits = torch.full((2, 1, 24, 24), -3.0)
    logits[1, :, 4:9, 2:22] = 3.0
    logits[1, :, 14:20, 5:15] = 3.0
    return Prompt.none(2, device=torch.device("cpu")), Answer(logits, logits, torch.zeros(2, 1)), target


def stroke_draws(seed=0):
    return torch.rand(2, RoundPlan.STROKE_DRAWS, generator=torch.Generator().manual_seed(seed))


def test_a_scribble_through_the_error_takes_the_place_of_the_clicks():
    prompt, answer, target = errors()
    plan = RoundPlan(clicks=[3], scribbles=1.0)
    following = plan.corrected(prompt, answer, target, Correction(3, False), torch.rand(2, 3), stroke_draws())
    assert (following.point_labels == ABSENT).all()
    missed, alarm = following.scribbles
    assert missed[0].any()
    assert not missed[1].any()
    assert not (missed[0] > 0)[target[0, 0] == 0].any()
    assert alarm[1].any()
    assert not alarm[0].any()
    assert not (alarm[1] > 0)[answer.logits[1, 0] < 0].any()
    assert following.lassos is None
    assert following.has_mask.all()


def test_a_lasso_is_for_false_alarms_and_leaves_the_target_out():
    prompt, answer, target = errors()
    plan = RoundPlan(lassos=1.0)
    following = plan.corrected(prompt, answer, target, Correction(1, False), torch.rand(2, 1), stroke_draws())
    assert following.point_labels.tolist() == [[ABSENT, 1], [ABSENT, ABSENT]]
    alarm = (answer.logits[1, 0] > 0) & (target[1, 0] == 0)
    assert (following.lassos[1, 1] > 0)[alarm].all()
    assert not (following.lassos[1, 1] > 0)[target[1, 0] > 0].any()
    assert not following.lassos[:, 0].any()
    assert not following.lassos[0].any()


def test_what_a_round_drops_is_absent_in_it_and_the_new_clicks_stay():
    prompt, answer, target = errors()
    prompt = prompt.with_boxes(torch.tensor([[1.0, 1, 5, 5]] * 2)).with_clicks(torch.ones(2, 2), torch.ones(2).long())
    prompt = prompt.with_scribbles(torch.ones(2, 2, 24, 24))
    plan, draws = RoundPlan(drop=1.0), stroke_draws()
    following = plan.corrected(prompt, answer, target, Correction(1, False), torch.rand(2, 1), draws)
    shown = plan.shown(following, draws, new_clicks=1)
    assert shown.boxes_xyxy.isnan().all()
    assert (shown.point_labels[:, :-1] == ABSENT).all()
    assert (shown.point_labels[:, -1] >= 0).all()
    assert not shown.has_mask.any()
    assert not shown.scribbles.any()
    assert following.scribbles.all()
    assert RoundPlan().shown(following, None, new_clicks=1) is following
    seldom = RoundPlan(drop=0.3)
    many = torch.rand(2000, RoundPlan.STROKE_DRAWS, generator=torch.Generator().manual_seed(0))
    box = Prompt.none(2000, device=torch.device("cpu")).with_boxes(torch.ones(2000, 4))
    dropped = seldom.shown(box, many, new_clicks=0).boxes_xyxy.isnan().all(1).float().mean().item()
    assert dropped == pytest.approx(0.3, abs=0.041)  # four standard deviations


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scribbles": 1.5}, "task.plan.scribbles from 0 to 1"),
        ({"scribbles": 0.6, "lassos": 0.6}, "scribbles . task.plan.lassos ≤ 1"),
        ({"drop": float("nan")}, "task.plan.drop from 0 to 1"),
    ],
)
def test_a_share_out_of_range_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        RoundPlan(**options)
