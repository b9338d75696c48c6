"""Hard-example replay: whose loss is remembered, when the odds change, and that a checkpoint brings them back."""

import numpy as np
import pytest
import torch

from segfocal.batch import Origin
from segfocal.data.sampling.hard_examples import LastLosses, blocks


def test_a_batch_finds_its_slice_by_its_origin():
    losses = LastLosses([("a", 4), ("b, slice 1", 3), ("p", 1)])
    assert [losses.slot(Origin("a", n)) for n in range(5)] == [0, 1, 2, 3, -1]
    assert losses.slot(Origin("b, slice 1", 2)) == 6
    assert losses.slot(Origin("p")) == losses.slot(Origin("p", 0)) == 7
    assert losses.slot(Origin("unknown", 0)) == losses.slot(Origin("unknown")) == -1


def test_a_picture_named_like_a_slice_of_another_keeps_its_own_loss():
    losses = LastLosses([("x", 5), ("x, slice 3", 1)])
    assert losses.slot(Origin("x, slice 3")) == losses.slot(Origin("x, slice 3", 0)) == 5
    assert losses.slot(Origin("x", 3)) == 3


def test_odds_change_only_when_renewed_and_what_is_unseen_counts_as_the_hardest():
    losses = LastLosses([("a", 4)])
    np.testing.assert_array_equal(losses.odds, np.ones(4))
    losses.note([2, 1, 1, -1], [0.5, 9.0, 3.0, 7.0])
    np.testing.assert_array_equal(losses.odds, np.ones(4))
    losses.renew()
    np.testing.assert_array_equal(losses.odds, [3.0, 3.0, 0.5, 3.0])


def test_losses_of_zero_leave_all_slices_alike():
    losses = LastLosses([("a", 3)])
    losses.note(range(3), np.zeros(3))
    losses.renew()
    np.testing.assert_array_equal(losses.odds, np.ones(3))


def test_what_a_checkpoint_holds_brings_the_same_draws_back():
    losses, again = LastLosses([("a", 4), ("b", 2)]), LastLosses([("a", 4), ("b", 2)])
    losses.note([0, 3, 5], [1.0, 2.0, 5.0])
    losses.renew()
    losses.note([1], [4.0])  # after the odds were made
    again.load_state_dict(losses.state_dict())
    for _ in range(2):
        assert [losses.draw(np.random.default_rng(n)) for n in range(50)] == [
            again.draw(np.random.default_rng(n)) for n in range(50)
        ]
        losses.renew()
        again.renew()
    with pytest.raises(ValueError, match="last losses of 3 slices; got 6"):
        LastLosses([("a", 3)]).load_state_dict(losses.state_dict())


def test_the_checkpoint_holds_tensors_alone():
    assert all(isinstance(value, torch.Tensor) for value in LastLosses([("a", 3)]).state_dict().values())


@pytest.mark.parametrize(
    ("first", "last", "every"), [(0, 10, 4), (3, 10, 4), (4, 12, 4), (0, 3, 25), (5, 5, 2), (7, 9, 1)]
)
def test_blocks_cover_the_steps_once_and_meet_at_multiples(first, last, every):
    spans = list(blocks(first, last, every))
    assert [step for span in spans for step in range(*span)] == list(range(first, last))
    assert all(start % every == 0 for start, _ in spans[1:])
    assert all(end - start <= every for start, end in spans)
