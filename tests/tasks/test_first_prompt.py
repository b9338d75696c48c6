"""First prompts: of the asked kinds, in the asked proportions, where the target is."""

import pytest
import torch

from segfocal.prompts import ABSENT, boxes_of
from segfocal.tasks import FirstPrompt

SHAPE = (20, 24)


def drawn(count=4000, seed=0):
    return torch.rand(count, sum(FirstPrompt.draws(2)), generator=torch.Generator().manual_seed(seed))


def two_pieces(count):
    """Return masks of a large piece on the left and a small one on the right."""
    target = torch.zeros(1, 1, *SHAPE, dtype=torch.uint8)
    target[:, :, 4:16, 2:12] = 1
    target[:, :, 6:9, 18:21] = 1
    return target.expand(count, -1, -1, -1)


def shares(prompt):
    box, point = prompt.boxes_xyxy.isfinite().all(1), prompt.point_labels[:, 0] == 1
    return [x.float().mean().item() for x in (~box & ~point, box & ~point, point & ~box, box & point)]


@pytest.mark.parametrize("wanted", [(0.5, 0.4, 0.1, 0.0), (0.1, 0.2, 0.3, 0.4), (0, 0, 1, 1), (0, 0.5, 0.5, 0)])
def test_kinds_come_in_the_asked_proportions(wanted):
    first = FirstPrompt(**dict(zip(("none", "box", "point", "box_point"), wanted, strict=True)))
    found = shares(first.draw(two_pieces(4000), drawn()))
    assert found == pytest.approx([w / sum(wanted) for w in wanted], abs=0.032)  # four standard deviations


@pytest.mark.parametrize("point_at", ["uniform", "central"])
def test_points_lie_in_the_target(point_at):
    target = two_pieces(300)
    prompt = FirstPrompt(none=0, box=0, point=1, point_at=point_at).draw(target, drawn(300))
    x, y = prompt.points_xy[:, 0].long().unbind(1)
    assert target[torch.arange(300), 0, y, x].all()


@pytest.mark.parametrize(("box_of", "expected"), [("target", {2.0}), ("largest", {2.0}), ("random", {2.0, 18.0})])
def test_boxes_are_those_of_the_target_or_of_a_component(box_of, expected):
    target = two_pieces(100)
    first = FirstPrompt(none=0, box=1, point=0, box_of=box_of, jitter_pixels=0, jitter_share=0)
    boxes = first.draw(target, drawn(100)).boxes_xyxy
    assert set(boxes[:, 0].tolist()) == expected
    assert (boxes[:, 2].max() == 21) == (box_of != "largest")


def test_the_box_of_sam_med2d_is_shifted_by_at_most_five_pixels():
    first = FirstPrompt(none=0, box=1, point=0, box_of="largest", jitter_pixels=0, jitter_share=0, shift_pixels=5)
    moved = first.draw(two_pieces(500), drawn(500)).boxes_xyxy - torch.tensor([2.0, 4, 12, 16])
    assert torch.allclose(moved[:, :2], moved[:, 2:], atol=1e-4)
    assert 4.9 < moved.abs().max() <= 5


def test_jittered_boxes_stay_within_reach_of_the_target():
    boxes = FirstPrompt(none=0, box=1, point=0).draw(two_pieces(500), drawn(500)).boxes_xyxy
    reach = torch.tensor([2.0, 2.0, 2.0, 2.0])  # pixels; a tenth of 19 × 12 is less
    assert ((boxes - boxes_of(two_pieces(500))).abs() <= reach + 1e-4).all()


@pytest.mark.parametrize("kind", ["none", "box", "point", "box_point"])
def test_an_empty_target_gets_no_prompt_or_a_click_outside(kind):
    empty, options = torch.zeros(50, 1, *SHAPE), {"none": 0, "box": 0, "point": 0, "box_point": 0} | {kind: 1}
    prompt = FirstPrompt(**options).draw(empty, drawn(50))
    assert prompt.boxes_xyxy.isnan().all()
    assert (prompt.point_labels == ABSENT).all()
    prompt = FirstPrompt(**options, empty="background").draw(empty, drawn(50))
    assert prompt.boxes_xyxy.isnan().all()
    assert (prompt.point_labels == (ABSENT if kind == "none" else 0)).all()


def test_a_click_outside_is_for_empty_targets_only():
    prompt = FirstPrompt(none=0, box=1, point=1, empty="background").draw(two_pieces(200), drawn(200))
    assert not (prompt.point_labels == 0).any()


def strokes(count, seed=1):
    return torch.rand(count, FirstPrompt.STROKE_DRAWS, generator=torch.Generator().manual_seed(seed))


def test_scribbles_and_lassos_come_in_their_proportions_alone_and_about_the_target():
    target, first = two_pieces(300), FirstPrompt(none=0, box=1, point=0, scribble=1, lasso=2, empty="background")
    prompt = first.draw(target, drawn(300), None, strokes(300))
    kinds = torch.stack([prompt.boxes_xyxy.isfinite().all(1), prompt.scribbles[:, 0].flatten(1).any(1),
                         prompt.lassos[:, 0].flatten(1).any(1)])  # fmt: skip
    assert (kinds.sum(0) == 1).all()
    assert kinds.float().mean(1).tolist() == pytest.approx([0.25, 0.25, 0.5], abs=0.12)  # four standard deviations
    assert (prompt.point_labels == ABSENT).all()
    inside = target[:, 0] > 0
    assert not (prompt.scribbles[:, 0] > 0)[~inside].any()
    assert (prompt.lassos[:, 0] > 0)[inside & kinds[2][:, None, None]].all()
    assert not prompt.scribbles[:, 1].any()
    empty = first.draw(torch.zeros(50, 1, *SHAPE), drawn(50), None, strokes(50))
    assert (empty.point_labels == 0).all()
    assert not any(part is not None and part.any() for part in (empty.scribbles, empty.lassos))


@pytest.mark.parametrize("options", [{}, {"box_of": "random", "point_at": "central", "shift_pixels": 3.0}])
def test_a_prompt_does_not_depend_on_the_rest_of_the_batch(options):
    first, target, draws = FirstPrompt(none=0, box=1, point=1, box_point=1, **options), two_pieces(20), drawn(20)
    together = first.draw(target, draws)
    for i in (0, 7, 19):
        alone = first.draw(target[i : i + 1], draws[i : i + 1])
        for name in ("points_xy", "point_labels", "boxes_xyxy"):
            one, of_many = getattr(alone, name)[0], getattr(together, name)[i]
            assert torch.equal(one.nan_to_num(-99), of_many.nan_to_num(-99))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"none": -0.1}, "task.first.none ≥ 0"),
        ({"none": 0, "box": 0, "point": 0}, "frequencies task.first.none"),
        ({"jitter_share": float("nan")}, "task.first.jitter_share"),
        ({"lasso": -1.0}, "task.first.lasso ≥ 0"),
        ({"shift_pixels": "five"}, "task.first.shift_pixels"),
        ({"box_of": "smallest"}, "task.first.box_of target, largest or random"),
        ({"point_at": "centre"}, "task.first.point_at"),
        ({"drawn_by": "epoch"}, "task.first.drawn_by sample or batch"),
        ({"empty": "skip"}, "task.first.empty"),
    ],
)
def test_an_option_out_of_range_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        FirstPrompt(**options)
