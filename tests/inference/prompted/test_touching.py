"""Only what touches the box, or holds a click inside, belongs to the answer to a box."""

import torch

from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.touching import near_box, touching


def squares():
    """Return logits with a square that the box 2…6 cuts, one apart, and a pixel that touches the first by a corner."""
    logits = torch.full((12, 14), -3.0)
    logits[3:9, 3:7] = 2.0
    logits[9, 7] = 1.0
    logits[1:3, 10:13] = 5.0
    return logits


BOX = torch.tensor([2.0, 2.0, 6.0, 6.0])


def test_components_that_touch_the_box_stay_whole_and_others_go():
    expected = squares()
    expected[1:3, 10:13] = OUTSIDE
    assert torch.equal(near_box(squares(), BOX), expected)


def test_a_click_inside_keeps_what_it_lies_in():
    assert torch.equal(near_box(squares(), BOX, [(11.4, 1.6)]), squares())
    assert (near_box(squares(), BOX, [(9.0, 1.0)])[1:3, 10:13] == OUTSIDE).all()


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
