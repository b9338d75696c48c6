"""Prompts on few slices reach the slices they should, and no others; a correction asks only what it changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, SlicePrompt
from segfocal.models import PromptUNet, sam_tiny
from segfocal.prompts import draw_line
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect

FREE = PropagationOptions(
    margin_mm=3.0, min_area_mm2=0.0, min_overlap=0.0, max_area_change=1e9, max_intensity_change=1.0
)


@pytest.fixture
def propagated(tmp_path):
    """Answer prompts about an image [d,h,w] and return the logits [k,d,h,w] and what was reached."""

    def run(image, prompts, model=None, *, options=FREE, structures=1, spacing_mm=(1.0, 1.0, 1.0), session="session"):
        given = PropagatedPrompts(
            prompts=prompts,
            structures=[Structure(name=f"s{k}", value=k + 1) for k in range(structures)],
            spacing_mm=spacing_mm,
            session=tmp_path / session / "answers",
            embeddings=tmp_path / session / "embeddings",
            options=options,
        )
        with torch.no_grad():
            device = torch.device("cpu")
            slabs = list(propagate(given, image[None], model or Perfect(), device=device, batch_size=3))
        assert [slab.start for slab in slabs] == list(range(0, len(image), 3))
        return torch.cat([slab.logits for slab in slabs], dim=1), given.reached

    return run


def tube(depth=12, first=2, last=9, shift=1):
    """Return an image of a bright square of 8 that wanders by `shift` pixels a slice, from `first` to `last`."""
    image = torch.zeros(depth, SIDE, SIDE)
    for z in range(first, last + 1):
        image[z, 10:18, 4 + shift * z : 12 + shift * z] = 0.8
    return image


def box_on(image, z, structure=0):
    y, x = torch.nonzero(image[z] > 0.25, as_tuple=True)
    box = (float(x.min()), float(y.min()), float(x.max()) + 1, float(y.max()) + 1)
    return SlicePrompt(structure=structure, slice=z, box_xyxy=box)


def point_on(z, x, y, inside=True):
    return SlicePrompt(structure=0, slice=z, point_xy=(float(x), float(y)), inside=inside)


def mask_on(mask, z):
    return SlicePrompt(structure=0, slice=z, mask=mask.float())


@pytest.mark.parametrize("z", [2, 5, 9])
def test_one_box_recovers_a_structure_from_end_to_end(propagated, z):
    image = tube()
    logits, reached = propagated(image, [box_on(image, z)])
    assert torch.equal(logits[0] > 0, image > 0)
    assert reached[0].answered == set(range(2, 10))
    assert reached[0].asked == set(range(1, 11))  # one slice beyond either end, where nothing was found


def test_a_structure_larger_than_the_window_is_recovered(propagated):
    image = torch.zeros(5, 70, 90)
    image[1:4, 5:60, 12:81] = 0.6
    logits, _ = propagated(image, [box_on(image, 2)])
    assert torch.equal(logits[0] > 0, image > 0)


def test_nothing_is_propagated_across_a_gap_or_to_another_component(propagated):
    image = tube()
    image[6] = 0  # the tube is broken here
    image[3:6, 22:26, 4:30] = 0.8  # below the tube, and touching the box with its margin in no slice
    image[4, 19:21, 8:16] = 0.8  # inside that box, but 1 pixel away from the tube
    logits, reached = propagated(
        image, [box_on(tube(), 4)], options=PropagationOptions(margin_mm=2.0, min_area_mm2=0.0)
    )
    expected = tube() > 0
    expected[6:] = False
    expected[4, 19:21, 8:16] = False
    assert torch.equal(logits[0] > 0, expected)
    assert reached[0].answered == {2, 3, 4, 5}


def test_two_prompted_slices_fill_what_lies_between(propagated):
    image = tube()
    prompts = [box_on(image, 3), box_on(image, 8)]
    logits, reached = propagated(image, prompts)
    assert torch.equal(logits[0] > 0, image > 0)
    assert reached[0].asked == set(range(1, 11))


def test_two_directions_are_blended_by_distance(propagated):
    """Up from slice 1 comes one half of a bar, down from slice 5 the other: each counts up to the middle."""
    image = torch.full((7, SIDE, SIDE), 0.8)
    left, right = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)
    left[10:20, 4:12], right[10:20, 20:28] = 1, 1

    class Halves(Perfect):
        def inside(self, truth, prompt):
            x0, _, x1, _ = prompt["boxes_xyxy"]
            return (left if x0 + x1 < SIDE else right) > 0

    logits, _ = propagated(image, [mask_on(left, 1), mask_on(right, 5)], Halves())
    for z, expected in ((0, left), (1, left), (2, left), (4, right), (5, right), (6, right)):
        assert torch.equal(logits[0, z] > 0, expected > 0), z
    torch.testing.assert_close(logits[0, 2][10:20, 4:12], torch.full((10, 8), 4 * 0.75 - 4 * 0.25))
    torch.testing.assert_close(logits[0, 3][left > 0], torch.zeros(80))


def test_a_mask_is_the_answer_of_its_slice_and_an_empty_one_ends_the_structure(propagated):
    image = tube()
    drawn = torch.zeros(SIDE, SIDE)
    drawn[10:18, 9:15] = 1
    model = Perfect()
    logits, _ = propagated(image, [mask_on(drawn, 5), mask_on(torch.zeros(SIDE, SIDE), 7)], model)
    assert torch.equal(logits[0, 5] > 0, drawn > 0)
    assert torch.equal(logits[0, 6] > 0, image[6] > 0)
    assert not (logits[0, 7:] > 0).any()
    assert len(model.asked) == 5  # slices 4, 3, 2, 1 and 6


def test_structures_are_propagated_apart(propagated):
    image = tube(shift=0)
    image[4:8, 22:30, 20:28] = 0.5
    other = SlicePrompt(structure=1, slice=5, box_xyxy=(20.0, 22.0, 28.0, 30.0))
    own = SlicePrompt(structure=0, slice=5, box_xyxy=(4.0, 10.0, 12.0, 18.0))
    logits, reached = propagated(image, [own, other], structures=2)
    assert torch.equal(logits[0] > 0, image == 0.8)
    assert torch.equal(logits[1] > 0, image == 0.5)
    assert [len(reached[k].answered) for k in (0, 1)] == [8, 4]


def test_a_slice_is_encoded_once_for_all_directions_structures_and_corrections(propagated):
    image, model = tube(depth=20, first=1, last=18, shift=0), Perfect()
    image[:, 0, 0] = torch.arange(20) / 100  # no two slices are the same
    boxes = [SlicePrompt(structure=k, slice=z, box_xyxy=(4.0 + k, 10.0, 12.0, 18.0)) for k in (0, 1) for z in (3, 9)]
    propagated(image, boxes, model, structures=2)
    assert model.image_encoder.count == 20
    propagated(image, [*boxes, point_on(6, 7, 13)], model, structures=2)
    assert model.image_encoder.count == 20


RULES = {
    "min_area_mm2": {"min_area_mm2": 40.0},
    "min_overlap": {"min_overlap": 0.75},
    "max_area_change": {"max_area_change": 1.5},
    "max_intensity_change": {"max_intensity_change": 0.1},
}


@pytest.mark.parametrize("rule", [*RULES, "reach_mm"])
def test_each_rule_ends_what_is_propagated(propagated, rule):
    image = torch.zeros(9, SIDE, SIDE)
    image[1:, 8:16, 8:16] = 0.8
    image[5:] = 0
    image[5:, 8:16, 8:12] = 0.6  # from slice 5 on: half as large, darker
    options = {"reach_mm": {"reach_mm": 6.0}, **RULES}[rule]
    free = {name: getattr(FREE, name) for name in vars(FREE)}
    _, reached = propagated(
        image, [box_on(image, 2)], options=PropagationOptions(**free | options), spacing_mm=(3.0, 1.0, 1.0)
    )
    assert reached[0].answered == {1, 2, 3, 4}
    _, freely = propagated(image, [box_on(image, 2)], spacing_mm=(3.0, 1.0, 1.0))
    assert freely[0].answered == set(range(1, 9))


@pytest.mark.parametrize("rule", [{"min_stability": 0.5}, {"min_iou": 0.7}])
def test_a_vague_answer_ends_what_is_propagated(propagated, rule):
    class Doubtful(Perfect):
        """Hardly sure of anything in darker slices."""

        def answer(self, embedding, prompt):
            answer = super().answer(embedding, prompt)
            dark = embedding.tokens.amax((1, 2, 3)) < 0.7
            logits = torch.where(dark[:, None, None, None], answer.logits / 16, answer.logits)
            return answer._replace(logits=logits, predicted_iou=torch.where(dark, 0.4, 0.9)[:, None])

    image = tube(shift=0)
    image[7:] *= 0.8
    free = {name: getattr(FREE, name) for name in vars(FREE)} | {"min_stability": 0.0}
    assert propagated(image, [box_on(image, 4)], Doubtful(), options=PropagationOptions(**free))[1][0].answered == {
        *range(2, 10)
    }
    ended = PropagationOptions(**free | rule)
    assert propagated(image, [box_on(image, 4)], Doubtful(), options=ended)[1][0].answered == {*range(2, 7)}


@pytest.mark.parametrize(
    ("carry", "expected"),
    [("box", (1, 0, 0)), ("mask", (0, 1, 0)), ("box+mask+point", (1, 1, 1)), ("point", (0, 0, 1))],
)
def test_the_option_says_what_of_an_answer_is_handed_on(propagated, carry, expected):
    image, model = tube(shift=0), Perfect()
    propagated(image, [box_on(image, 5)], model, options=PropagationOptions(carry=carry))
    prompt = model.asked[1]
    has_box, has_point = torch.isfinite(prompt["boxes_xyxy"]).all(), (prompt["point_labels"] == 1).any()
    assert (int(has_box), int(prompt["has_mask"]), int(has_point)) == expected
    if has_point:
        x, y = prompt["points_xy"][prompt["point_labels"] == 1][0].tolist()
        assert (abs(x - 7.5), abs(y - 13.5)) <= (0.5, 0.5)
    if has_box:
        assert prompt["boxes_xyxy"].tolist() == [0.0, 4.0, 18.0, 24.0]  # 4…12 and 10…18 with 6 mm


def test_a_box_added_later_asks_only_between_its_neighbours(propagated):
    image = tube(depth=20, first=1, last=18, shift=0)
    prompts = [box_on(image, 2), box_on(image, 8), box_on(image, 16)]
    before, _ = propagated(image, prompts)
    corrected = torch.zeros(SIDE, SIDE)
    corrected[12:16, 4:12] = 1
    after, reached = propagated(image, [*prompts, mask_on(corrected, 11)])
    assert reached[0].asked == {9, 10, 11, 12, 13, 14, 15}
    assert torch.equal(after[:, :9], before[:, :9])
    assert torch.equal(after[:, 16:], before[:, 16:])
    fresh, _ = propagated(image, [*prompts, mask_on(corrected, 11)], session="another")
    assert torch.equal(fresh, after)


def test_a_click_added_later_is_answered_with_what_is_propagated_there(propagated):
    """On slice 11 a second piece appears: the click adds it, and it is propagated on from there."""
    image = tube(depth=20, first=1, last=18, shift=0)
    image[11:14, 24:28, 6:10] = 0.8
    prompts = [box_on(tube(depth=20, first=1, last=18, shift=0), 5)]
    before, _ = propagated(image, prompts)
    assert not (before[0, :, 24:28] > 0).any()
    model = Perfect()
    after, reached = propagated(image, [*prompts, point_on(11, 7, 25)], model)
    assert torch.equal(after[0] > 0, image > 0)
    assert reached[0].asked == set(range(6, 20))
    click = model.asked[0]
    assert click["boxes_xyxy"].tolist() == [1.0, 7.0, 15.0, 29.0]  # what is propagated, with 3 mm, and the click
    assert click["points_xy"][click["point_labels"] == 1].tolist() == [[7.0, 25.0]]
    assert torch.equal(after[:, :6], before[:, :6])


def test_a_click_that_forbids_takes_away(propagated):
    image = tube(shift=0)
    image[:, 10:18, 14:20] = 0.8
    both = SlicePrompt(structure=0, slice=5, box_xyxy=(4.0, 10.0, 20.0, 18.0))
    logits, _ = propagated(image, [both, point_on(5, 16, 12, inside=False)], options=PropagationOptions(margin_mm=1.0))
    assert torch.equal(logits[0, 5] > 0, tube(shift=0)[5] > 0)


class Deaf(Perfect):
    """Answers boxes, and everything bright without one; hears no click."""

    def inside(self, truth, prompt):
        return super().inside(truth, prompt | {"point_labels": -torch.ones_like(prompt["point_labels"])})


def test_points_hold_whatever_the_model_says(propagated):
    image = tube(shift=0)
    points = [point_on(5, 25, 26), point_on(5, 6, 13, inside=False)]
    logits, _ = propagated(image, [box_on(image, 5), *points], Deaf())
    assert logits[0, 5, 26, 25] > 0 > logits[0, 5, 13, 6]
    changed = (logits[0, 5] > 0) != (image[5] > 0)
    assert int(changed.sum()) == 26  # two discs of 13 pixels


def test_an_outside_point_holds_in_the_answers_to_every_box_of_its_slice(propagated):
    image = torch.zeros(3, SIDE, SIDE)
    image[1, 10:14, 2:30] = 0.8  # one bar, of which two boxes mark the ends
    boxes = [SlicePrompt(structure=0, slice=1, box_xyxy=box) for box in ((2.0, 10, 8, 14), (24.0, 10, 30, 14))]
    logits, _ = propagated(image, [*boxes, point_on(1, 5, 12, inside=False)], Generous())
    assert logits[0, 1, 12, 5] < 0 < logits[0, 1, 12, 27]


def test_earlier_clicks_keep_their_answers_when_another_slice_is_corrected(propagated):
    image = tube(depth=20, first=1, last=18, shift=0)
    clicks = [box_on(image, 4), point_on(12, 7, 13)]
    propagated(image, clicks)
    _, reached = propagated(image, [*clicks, point_on(4, 6, 12)])
    assert reached[0].asked == {4, 3, 2, 1, 0, *range(5, 12)}


def test_clicks_alone_begin_a_structure_and_background_clicks_alone_ask_nothing(propagated):
    image, model = tube(), Perfect()
    logits, _ = propagated(image, [point_on(5, 12, 14)], model)
    assert torch.equal(logits[0] > 0, image > 0)
    assert torch.isnan(model.asked[0]["boxes_xyxy"]).all()
    model = Perfect()
    logits, _ = propagated(image, [point_on(5, 12, 14, inside=False)], model)
    assert not model.asked
    assert not (logits > 0).any()


def test_nothing_that_is_kept_serves_another_scan_model_or_option(propagated):
    image = tube()
    everything = set(range(1, 11))
    assert propagated(image, [box_on(image, 5)])[1][0].asked == everything
    assert propagated(image, [box_on(image, 5)])[1][0].asked == set()
    assert propagated(image * 0.9, [box_on(image, 5)])[1][0].asked == everything
    assert propagated(image, [box_on(image, 5)], spacing_mm=(2.0, 1.0, 1.0))[1][0].asked == everything
    other = Perfect()
    other.register_buffer("weight", torch.ones(1))
    assert propagated(image, [box_on(image, 5)], other)[1][0].asked == everything


def test_a_damaged_answer_is_asked_again(propagated, tmp_path):
    image = tube()
    before, _ = propagated(image, [box_on(image, 5)])
    files = sorted((tmp_path / "session" / "answers").rglob("*.safetensors"))
    assert len(files) == 10
    for file in files:
        file.write_bytes(file.read_bytes()[:20])
    after, reached = propagated(image, [box_on(image, 5)])
    assert len(reached[0].asked) == 10
    assert torch.equal(before, after)


REAL = {
    "sam_tiny": lambda: sam_tiny(image_size=SIDE, width=48, heads=6, decoder_width=32),
    "prompt_unet": lambda: PromptUNet(image_size=SIDE, widths=(16, 24)),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_gives_the_same_whether_answers_are_kept_or_not(propagated, name):
    torch.manual_seed(0)
    model = REAL[name]().eval()
    image = torch.rand(6, 40, 50, generator=torch.Generator().manual_seed(1))
    free = {name: getattr(FREE, name) for name in vars(FREE)}
    options = PropagationOptions(**free | {"carry": "box+mask+point", "min_stability": 0.0})
    drawn = torch.zeros(40, 50)
    drawn[5:30, 8:44] = 1
    prompts = [mask_on(drawn, 2), SlicePrompt(structure=0, slice=4, box_xyxy=(3.0, 4.0, 40.0, 38.0))]
    first, _ = propagated(image, prompts, model, options=options)
    later, reached = propagated(image, [*prompts, point_on(3, 20, 20)], model, options=options)
    fresh, _ = propagated(image, [*prompts, point_on(3, 20, 20)], model, options=options, session="fresh")
    assert torch.equal(later, fresh)
    assert reached[0].asked == {3}
    assert np.isfinite(first.numpy()).all()


@pytest.mark.parametrize("name", REAL)
def test_scribbles_and_lassos_are_answered_by_every_model_and_hold(propagated, name):
    torch.manual_seed(0)
    model = REAL[name]().eval()
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(1))
    line = SlicePrompt(structure=0, slice=1, scribble_xy=((10.0, 12.0), (30.0, 14.0)))
    around = SlicePrompt(structure=0, slice=1, lasso_xy=((6.0, 6.0), (36.0, 6.0), (36.0, 24.0), (6.0, 24.0)))
    no_more = replace(around, lasso_xy=((20.0, 16.0), (44.0, 16.0), (44.0, 38.0), (20.0, 38.0)), inside=False)
    answers = []
    for prompts in ([line], [around], [around, line], [around, line, no_more]):
        logits, reached = propagated(image, prompts, model)
        assert 1 in reached[0].asked
        answers.append(logits[0, 1] > 0)
        if line in prompts:
            assert answers[-1][draw_line(line.scribble_xy, (40, 50))].all()
    assert not answers[-1][16:39, 20:45].any()
    assert propagated(image, [around, line, no_more], model)[1][0].asked == set()


def test_a_scribble_adds_to_a_lasso_and_a_new_lasso_corrects_both(propagated):
    image = tube()
    (left, top), (right, bottom) = (9.0, 10.0), (16.0, 17.0)
    lasso = SlicePrompt(structure=0, slice=5, lasso_xy=((left, top), (right, top), (right, bottom), (left, bottom)))
    logits, _ = propagated(image, [lasso])  # a model without strokes of its own is asked by the lasso's box
    assert torch.equal(logits[0] > 0, image > 0)
    line = SlicePrompt(structure=0, slice=5, scribble_xy=((11.0, 12.0), (14.0, 12.0)), inside=False)
    logits, _ = propagated(image, [lasso, line])
    assert not (logits[0, 5, 12, 11:15] > 0).any()
    assert torch.equal(propagated(image, [lasso, line, lasso])[0][0] > 0, image > 0)


def test_answers_to_clicks_that_are_drawn_otherwise_are_kept_apart(propagated):
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(1))
    narrow, wide = (PromptUNet(image_size=SIDE, widths=(16, 24), click_radius=radius).eval() for radius in (0, 5))
    wide.load_state_dict(narrow.state_dict())
    first, _ = propagated(image, [point_on(1, 20, 20)], narrow)
    other, reached = propagated(image, [point_on(1, 20, 20)], wide)
    assert reached[0].asked
    assert not torch.equal(first, other)


class Generous(Perfect):
    """Answers all that is bright in its window, whatever the box."""

    def inside(self, truth, prompt):
        return truth


def test_of_the_answer_to_a_box_only_what_touches_it_is_kept_and_propagated(propagated):
    image = tube(shift=0)
    image[:, 22:28, 22:30] = 0.8  # another organ, in the same window, along the whole scan
    logits, _ = propagated(image, [box_on(tube(shift=0), 5)], Generous())
    assert torch.equal(logits[0] > 0, tube(shift=0) > 0)


def test_a_click_keeps_the_piece_it_lies_in_beside_the_box_and_alone_takes_all(propagated):
    image = tube(shift=0, first=5, last=5)
    image[5, 22:28, 22:30] = 0.8
    beside = [box_on(tube(shift=0), 5), point_on(5, 25, 25)]
    assert torch.equal(propagated(image, beside, Generous())[0][0] > 0, image > 0)
    assert torch.equal(propagated(image, [point_on(5, 25, 25)], Generous())[0][0] > 0, image > 0)


@pytest.mark.parametrize("model", [Perfect, Generous])
def test_two_boxes_of_a_structure_on_a_slice_are_each_asked_and_propagated(propagated, model):
    image = torch.zeros(9, 40, 90)
    image[1:8, 10:18, 4:12] = 0.8
    image[2:7, 12:20, 70:80] = 0.6
    image[:, 10:20, 34:46] = 0.7  # the spine between the kidneys
    boxes = [
        SlicePrompt(structure=0, slice=4, box_xyxy=box) for box in ((4.0, 10.0, 12.0, 18.0), (70.0, 12.0, 80.0, 20.0))
    ]
    expected = image > 0
    expected[:, :, 34:46] = False
    logits, reached = propagated(image, boxes, model())
    assert torch.equal(logits[0] > 0, expected)
    assert reached[0].prompted == {4}
    assert reached[0].answered == set(range(1, 8))
    again, reached = propagated(image, boxes, model())
    assert torch.equal(again, logits)
    assert not reached[0].asked
    # on two slices: between them both directions are blended
    more = [*boxes, *[SlicePrompt(structure=0, slice=6, box_xyxy=one.box_xyxy) for one in boxes]]
    assert torch.equal(propagated(image, more, model())[0][0] > 0, expected)


def test_a_box_that_ends_one_of_two_pieces_leaves_the_other(propagated):
    image = tube(shift=0)
    right = SlicePrompt(structure=0, slice=5, box_xyxy=(22.0, 22.0, 28.0, 28.0))  # nothing is there
    logits, _ = propagated(image, [box_on(image, 5), right])
    assert torch.equal(logits[0] > 0, image > 0)
