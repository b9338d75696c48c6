"""Scribbles and lassos hold in the answer, of those that contradict each other the later one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.inference.prompted.held_points import with_marks_held
from segfocal.inference.prompted.scan_prompts import SlicePrompt
from segfocal.prompts import draw_line, fill_outline

SIZE = (22, 27)
SPACING = (1.0, 1.0)


def scribble(*points, inside=True):
    return SlicePrompt(structure=0, slice=0, scribble_xy=points, inside=inside)


def lasso(*points):
    return SlicePrompt(structure=0, slice=0, lasso_xy=points, inside=False)


def point(x, y, inside=True):
    return SlicePrompt(structure=0, slice=0, point_xy=(x, y), inside=inside)


def square():
    logits = torch.full(SIZE, -3.0)
    logits[6:12, 8:14] = 2.0
    return logits


def test_a_scribble_on_the_background_becomes_a_band_of_two_millimetres():
    held = with_marks_held(square(), [scribble((3.0, 16.0), (20.0, 16.0))], spacing_mm=SPACING)
    changed = (held > 0) & (square() <= 0)
    assert changed[14:19, 3:21].all()
    assert not changed[:14].any()
    assert not changed[19:].any()


def test_a_scribble_that_the_answer_follows_changes_nothing():
    inside, outside = scribble((9.0, 7.0), (12.0, 10.0)), scribble((0.0, 0.0), (25.0, 2.0), inside=False)
    assert with_marks_held(square(), [inside, outside], spacing_mm=SPACING).equal(square())


def test_a_lasso_outside_empties_its_area_and_no_more():
    area = lasso((5.0, 4.0), (10.0, 4.0), (10.0, 9.0), (5.0, 9.0))
    held = with_marks_held(square(), [area], spacing_mm=SPACING)
    assert not (held[4:10, 5:11] > 0).any()
    expected = square() > 0
    expected[4:10, 5:11] = False
    assert torch.equal(held > 0, expected)


@pytest.mark.parametrize("last", ["lasso", "scribble"])
def test_of_marks_that_contradict_each_other_the_later_one_holds(last):
    area, line = lasso((4.0, 4.0), (12.0, 4.0), (12.0, 14.0), (4.0, 14.0)), scribble((6.0, 6.0), (10.0, 6.0))
    marks = [line, area] if last == "lasso" else [area, line]
    held = with_marks_held(square(), marks, spacing_mm=SPACING)
    assert (held[6, 6:11] > 0).all() == (last == "scribble")
    assert (held[6, 6:11] > 0).any() == (last == "scribble")


def test_a_disc_beside_a_lasso_does_not_reach_into_it():
    held = with_marks_held(square(), [point(17.0, 16.0), lasso((18.0, 12.0), (24.0, 12.0), (24.0, 20.0), (18.0, 20.0))],
                           spacing_mm=SPACING)  # fmt: skip
    assert held[16, 17] > 0
    assert not (held[12:21, 18:25] > 0).any()


places = st.tuples(st.floats(-0.4, SIZE[1] - 0.6), st.floats(-0.4, SIZE[0] - 0.6))
marks = st.one_of(
    st.builds(lambda points, inside: scribble(*points, inside=inside), st.lists(places, min_size=1, max_size=3),
              st.booleans()),
    st.builds(lambda points: lasso(*points), st.lists(places, min_size=3, max_size=4)),
    st.builds(lambda place, inside: point(*place, inside=inside), places, st.booleans()),
)  # fmt: skip


@given(seed=st.integers(0, 2**31), given_marks=st.lists(marks, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_mark_holds_but_where_a_later_one_says_otherwise(seed, given_marks):
    logits = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed)) * 5
    held = with_marks_held(logits, given_marks, spacing_mm=SPACING) > 0
    said = torch.full(SIZE, -1)
    for mark in given_marks:
        drawn = fill_outline if mark.lasso_xy is not None else draw_line
        said[drawn(mark.points, SIZE)] = int(mark.inside)
    closed = said == 0
    assert held[said == 1].all()
    in_lasso = torch.zeros(SIZE, dtype=torch.bool)
    for mark in given_marks:
        if mark.lasso_xy is not None:
            in_lasso |= fill_outline(mark.lasso_xy, SIZE)
        elif mark.inside:
            in_lasso &= ~_near(mark)  # a later mark inside takes a disc of it
    assert not held[closed & in_lasso].any()
    for mark in given_marks:
        if mark.lasso_xy is None and not mark.inside:
            drawn = draw_line(mark.points, SIZE)
            assert not held[drawn & closed].any()


def _near(mark):
    drawn = draw_line(mark.points, SIZE).nonzero()
    rows, columns = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    return ((rows[..., None] - drawn[:, 0]) ** 2 + (columns[..., None] - drawn[:, 1]) ** 2 <= 4).any(-1)
