"""Prompts of one slice are brought together in their order; boxes apart from each other are asked each."""

import torch

from segfocal.inference.prompted.combined_prompt import combine
from segfocal.inference.prompted.scan_prompts import ScanPrompts, SlicePrompt
from segfocal.structure import Structure

BOX = SlicePrompt(structure=0, slice=2, box_xyxy=(3.0, 5.0, 7.0, 12.0))
POINT = SlicePrompt(structure=0, slice=2, point_xy=(4.0, 6.0))
OUTSIDE = SlicePrompt(structure=0, slice=2, point_xy=(4.0, 6.0), inside=False)
ABSENT = SlicePrompt(structure=0, slice=2, mask=torch.zeros(4, 5))


def box(*corners):
    return SlicePrompt(structure=0, slice=2, box_xyxy=tuple(map(float, corners)))


def point(x, y, inside=True):
    return SlicePrompt(structure=0, slice=2, point_xy=(float(x), float(y)), inside=inside)


def test_of_one_slice_a_box_or_mask_replaces_what_came_before_it():
    (found,) = combine([POINT, ABSENT, BOX, POINT, OUTSIDE])
    assert found.mask is None
    assert found.box_xyxy == (3.0, 5.0, 7.0, 12.0)
    assert found.points_xy == [(4.0, 6.0), (4.0, 6.0)]
    assert found.point_labels == [1, 0]
    (last,) = combine([BOX, POINT, ABSENT])
    assert last.point_labels == []
    assert last.box_xyxy is None
    assert torch.equal(last.mask, ABSENT.mask)


def test_boxes_apart_are_asked_each_and_one_that_overlaps_another_corrects_it():
    left, right = box(0, 0, 5, 5), box(5, 0, 9, 5)  # they share an edge, no pixel
    assert [one.box_xyxy for one in combine([left, right])] == [left.box_xyxy, right.box_xyxy]
    better = box(6, 1, 12, 6)
    found = combine([left, point(2, 2), right, point(7, 2), better])
    assert [one.box_xyxy for one in found] == [left.box_xyxy, better.box_xyxy]
    assert [one.points_xy for one in found] == [[(2.0, 2.0)], []]
    across = box(3, 3, 7, 4)
    assert [one.box_xyxy for one in combine([left, right, across])] == [across.box_xyxy]
    assert len(combine([left, right, ABSENT])) == 1


def test_a_point_belongs_to_the_box_that_holds_it_or_the_nearest():
    left, right = box(0, 0, 5, 5), box(20, 0, 25, 5)
    first, second = combine([left, right, point(21, 1), point(4, 4, inside=False), point(8, 2), point(18, 30)])
    assert first.points_xy == [(4.0, 4.0), (8.0, 2.0)]
    assert first.point_labels == [0, 1]
    assert second.points_xy == [(21.0, 1.0), (18.0, 30.0)]


def test_an_outside_point_is_forbidden_to_the_other_boxes_and_changes_their_names():
    left, right = box(0, 0, 5, 5), box(20, 0, 25, 5)
    before = combine([left, right])
    first, second = combine([left, right, point(4, 4, inside=False), point(3, 3)])
    assert ([one.point_xy for one in first.forbidden], [one.point_xy for one in second.forbidden]) == ([], [(4.0, 4.0)])
    assert second.signatures != before[1].signatures


def test_what_is_combined_stands_alone_with_a_box_or_a_mask_only():
    assert [one.stands_alone for one in combine([BOX, POINT])] == [True]
    assert [one.stands_alone for one in combine([ABSENT])] == [True]
    assert [one.stands_alone for one in combine([POINT, OUTSIDE])] == [False]


def test_prompts_that_differ_have_different_signatures_and_equal_ones_the_same():
    again = SlicePrompt(structure=1, slice=7, box_xyxy=(3.0, 5.0, 7.0, 12.0))
    assert again.signature == BOX.signature
    assert len({prompt.signature for prompt in (BOX, POINT, OUTSIDE, ABSENT)}) == 4


def test_all_boxes_of_a_slice_are_kept_and_equal_ones_once():
    other = SlicePrompt(structure=0, slice=2, box_xyxy=(1.0, 6.0, 5.0, 20.0))
    second = SlicePrompt(structure=1, slice=0, box_xyxy=(0.5, 1.0, 2.0, 3.0))
    structures = [Structure(name="a", value=1), Structure(name="b", value=2)]
    boxes = ScanPrompts(prompts=[BOX, other, second, BOX], structures=structures).boxes(4)
    assert boxes.shape == (2, 4, 2, 4)
    assert boxes[0, 2].tolist() == [[3.0, 5.0, 7.0, 12.0], [1.0, 6.0, 5.0, 20.0]]
    assert boxes[1, 0, 0].tolist() == [0.5, 1.0, 2.0, 3.0]
    assert int(torch.isfinite(boxes).all(3).sum()) == 3
