"""Only what is near the box and touches it, or holds a mark inside, belongs to the answer to a box."""

import torch

from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.touching import changed_about, margins, near_box, touching


def squares():
    """Return logits with a square that the box 2…6 cuts, one apart, and a pixel that touches the first by a corner."""
    logits = torch.full((12, 14), -3.0)
    logits[3:9, 3:7] = 2.0
    logits[9, 7] = 1.0
    logits[1:3, 10:13] = 5.0
    return logits


BOX = torch.tensor([2.0, 2.0, 6.0, 6.0])


def marked(x, y):
    pixels = torch.zeros(12, 14, dtype=torch.bool)
    pixels[y, x] = True
    return pixels


def cut():
    """Return what of the square that the box cuts is within two pixels of it."""
    expected = squares()
    expected[1:3, 10:13] = OUTSIDE
    expected[8:10] = torch.where(expected[8:10] > 0, OUTSIDE, expected[8:10])
    return expected


def test_components_that_touch_the_box_stay_as_far_as_its_margin_and_others_go():
    assert torch.equal(near_box(squares(), BOX), cut())


def test_a_tenth_of_a_large_box_is_its_margin():
    assert margins(torch.tensor([0.0, 5.0, 10.0, 65.0])).tolist() == [2.0, 6.0]
    logits = torch.full((90, 12), 1.0)
    kept = near_box(logits, torch.tensor([0.0, 5.0, 10.0, 65.0])) > 0
    assert kept.nonzero().amin(0).tolist() == [0, 0]
    assert kept.nonzero().amax(0).tolist() == [70, 11]


def test_a_mark_inside_keeps_what_it_lies_in_and_beyond_the_margin_all_of_it():
    both = cut()
    both[1:3, 10:13] = squares()[1:3, 10:13]
    assert torch.equal(near_box(squares(), BOX, marked(11, 2)), both)
    assert torch.equal(near_box(squares(), BOX, marked(9, 1)), cut())
    whole = squares()
    whole[1:3, 10:13] = OUTSIDE
    assert torch.equal(near_box(squares(), BOX, marked(7, 9)), whole)


def test_a_mark_changes_the_components_of_either_answer_that_it_touches():
    before, after = squares(), squares()
    after[3:9, 3:7] = -1.0  # both squares are gone, and there is another
    after[1:3, 10:13] = -4.0
    after[10:12, 1:3] = 3.0
    nowhere = changed_about(before, after, marked(12, 10))
    assert torch.equal(nowhere > 0, before > 0)
    small = changed_about(before, after, marked(10, 2))
    assert torch.equal(small[1:3, 10:13], after[1:3, 10:13])
    small[1:3, 10:13] = before[1:3, 10:13]
    assert torch.equal(small > 0, before > 0)


def test_an_answer_within_its_box_is_returned_as_it_is():
    logits = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    assert near_box(logits, torch.tensor([0.0, 0.0, 8.0, 9.0])) is logits


def test_a_box_between_pixels_or_past_the_border_reaches_the_pixels_it_covers():
    logits = torch.full((6, 6), -1.0)
    logits[5, 5], logits[0, 0] = 1.0, 1.0
    kept = near_box(logits, torch.tensor([4.6, 5.2, 9.0, 7.0])) > 0
    assert kept.nonzero().tolist() == [[5, 5]]
    kept = near_box(logits, torch.tensor([-2.0, -3.0, 0.4, 0.1])) > 0
    assert kept.nonzero().tolist() == [[0, 0]]


def test_nothing_touches_an_empty_region():
    assert not touching(squares() > 0, torch.zeros(12, 14, dtype=torch.bool)).any()
