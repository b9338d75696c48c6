"""Choosing samples: what chance each slice has, and that replay is a function of what it was told."""

import numpy as np
import pytest
import torch

from segfocal.batch import Origin
from segfocal.data.sampling.dataset import Sampling
from segfocal.data.sampling.hard_examples import LastLosses, blocks
from segfocal.data.sampling.sampler import Chooser, rare_first


class Case:
    """What a chooser asks of a prepared case."""

    def __init__(self, name, pixels):
        self.name, self.pixels = name, np.array(pixels)
        self.shape = (self.pixels.shape[1], 8, 8)


VOLUMES = [Case("a", [[0, 90, 0, 10], [0, 0, 0, 0]]), Case("b", [[0, 0, 0], [0, 1, 0]]), Case("c", [[0, 0], [0, 0]])]
PICTURES = [Case("p", [[5], [0]]), Case("q", [[0], [0]]), Case("r", [[0], [7]])]


def drawn(cases, count=400, **options):
    choose = Chooser(cases, 2, Sampling(crop=(8, 8), **options))
    return choose, [choose(np.random.default_rng([n])) for n in range(count)]


def as_ever(cases, rng, foreground):
    """The choice without a remedy, written out: runs of earlier versions must repeat."""
    case = cases[rng.integers(len(cases))]
    wanted = int(rng.integers(2)) if rng.random() < foreground else None
    if wanted is not None and all(c.shape[0] == 1 for c in cases):
        holding = [i for i, c in enumerate(cases) if c.pixels[wanted, 0] > 0]
        case = cases[rng.choice(holding)]
    held = np.flatnonzero(case.pixels[wanted]) if wanted is not None else np.arange(case.shape[0])
    return case, int(rng.choice(held)) if len(held) else int(rng.integers(case.shape[0])), wanted, rng.random()


@pytest.mark.parametrize("cases", [VOLUMES, PICTURES], ids=["volumes", "pictures"])
@pytest.mark.parametrize("foreground", [0.0, 0.5, 1.0])
def test_without_a_remedy_the_choice_is_that_of_earlier_versions(cases, foreground):
    choose = Chooser(cases, 2, Sampling(foreground=foreground, crop=(8, 8)))
    for n in range(100):
        rng = np.random.default_rng(n)
        assert (*choose(rng), rng.random()) == as_ever(cases, np.random.default_rng(n), foreground)


@pytest.mark.parametrize(
    ("power", "chances"), [(0.0, [0.5, 0.5]), (0.5, [1 / 11, 10 / 11]), (1.0, [1 / 101, 100 / 101])]
)
def test_rare_structures_have_chances_by_the_power_of_their_pixels(power, chances):
    np.testing.assert_allclose(rare_first([100, 1], power), chances)


def test_a_structure_without_a_pixel_is_never_drawn_for_being_rare():
    np.testing.assert_allclose(rare_first([100, 0, 100], 1.0), [0.5, 0, 0.5])
    np.testing.assert_allclose(rare_first([0, 0], 1.0), [0.5, 0.5])


def test_rare_structures_are_drawn_from_the_cases_that_hold_them():
    _, choices = drawn(VOLUMES, foreground=1.0, rare=0.5)
    assert {(c.case.name, c.slice_index) for c in choices if c.structure == 1} == {("b", 1)}
    assert {(c.case.name, c.slice_index) for c in choices if c.structure == 0} == {("a", 1), ("a", 3)}
    share = np.mean([c.structure == 1 for c in choices])
    assert share == pytest.approx(10 / 11, abs=4 * (10 / 121 / 400) ** 0.5)  # four standard deviations


def test_replay_draws_slices_in_proportion_to_their_last_loss():
    choose = Chooser(VOLUMES, 2, Sampling(foreground=0.0, crop=(8, 8), replay=1.0))
    losses = choose.losses
    losses.note(range(9), [0.0, 1.0, 0.0, 2.0, 0.0, 4.0, 0.0, 0.0, 1.0])
    losses.renew()
    found = [choose(np.random.default_rng([n])) for n in range(800)]
    shares = {place: np.mean([(c.case.name, c.slice_index) == place for c in found]) for place in [("a", 1), ("a", 3)]}
    assert shares["a", 1] == pytest.approx(1 / 8, abs=4 * (7 / 64 / 800) ** 0.5)
    assert shares["a", 3] == pytest.approx(1 / 4, abs=4 * (3 / 16 / 800) ** 0.5)
    assert {(c.case.name, c.slice_index) for c in found} == {("a", 1), ("a", 3), ("b", 1), ("c", 1)}


def test_half_replay_leaves_the_other_half_uniform():
    choose = Chooser(VOLUMES, 2, Sampling(foreground=0.0, crop=(8, 8), replay=0.5))
    choose.losses.note(range(9), [1.0] + [0.0] * 8)
    choose.losses.renew()
    found = [choose(np.random.default_rng([n])) for n in range(600)]
    first = np.mean([(c.case.name, c.slice_index) == ("a", 0) for c in found])
    assert first == pytest.approx(0.5 + 0.5 / 12, abs=4 * (0.25 / 600) ** 0.5)
    assert len({(c.case.name, c.slice_index) for c in found}) == 9


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
    spans = blocks(first, last, every)
    assert [step for span in spans for step in range(*span)] == list(range(first, last))
    assert all(start % every == 0 for start, _ in spans[1:])
    assert all(end - start <= every for start, end in spans)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"rare": -1}, "data.rare"), ({"replay": 1.5}, "data.replay in"), ({"replay_every": 0}, "data.replay_every")],
)
def test_values_out_of_range_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        Sampling(foreground=0.5, crop=(8, 8), **options)
