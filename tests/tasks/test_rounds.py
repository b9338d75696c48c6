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
