"""Prompts of one slice are brought together in their order; boxes of one slice become the box around them."""

import torch

from segfocal.inference.prompted.scan_prompts import ScanPrompts, SlicePrompt, combine
from segfocal.structure import Structure

BOX = SlicePrompt(structure=0, slice=2, box_xyxy=(3.0, 5.0, 7.0, 12.0))
POINT = SlicePrompt(structure=0, slice=2, point_xy=(4.0, 6.0))
OUTSIDE = SlicePrompt(structure=0, slice=2, point_xy=(4.0, 6.0), inside=False)
ABSENT = SlicePrompt(structure=0, slice=2, mask=torch.zeros(4, 5))


def test_of_one_slice_a_box_or_mask_replaces_what_came_before_it():
    found = combine([POINT, ABSENT, BOX, POINT, OUTSIDE])
    assert found.mask is None
    assert found.box_xyxy == (3.0, 5.0, 7.0, 12.0)
    assert found.points_xy == [(4.0, 6.0), (4.0, 6.0)]
    assert found.point_labels == [1, 0]
    last = combine([BOX, POINT, ABSENT])
    assert last.point_labels == []
    assert last.box_xyxy is None
    assert torch.equal(last.mask, ABSENT.mask)


def test_what_is_combined_stands_alone_with_a_box_or_a_mask_only():
    assert combine([BOX, POINT]).stands_alone
    assert combine([ABSENT]).stands_alone
    assert not combine([POINT, OUTSIDE]).stands_alone


def test_prompts_that_differ_have_different_signatures_and_equal_ones_the_same():
    again = SlicePrompt(structure=1, slice=7, box_xyxy=(3.0, 5.0, 7.0, 12.0))
    assert again.signature == BOX.signature
    assert len({prompt.signature for prompt in (BOX, POINT, OUTSIDE, ABSENT)}) == 4


def test_of_several_boxes_of_a_slice_the_box_around_them_counts():
    other = SlicePrompt(structure=0, slice=2, box_xyxy=(1.0, 6.0, 5.0, 20.0))
    second = SlicePrompt(structure=1, slice=0, box_xyxy=(0.5, 1.0, 2.0, 3.0))
    structures = [Structure(name="a", value=1), Structure(name="b", value=2)]
    boxes = ScanPrompts(prompts=[BOX, other, second], structures=structures).boxes(4)
    assert boxes.shape == (2, 4, 4)
    assert boxes[0, 2].tolist() == [1.0, 5.0, 7.0, 20.0]
    assert boxes[1, 0].tolist() == [0.5, 1.0, 2.0, 3.0]
    assert int(torch.isfinite(boxes).all(2).sum()) == 2
