"""Drawing slices: what chance each has, with and without a remedy against imbalance."""

import numpy as np
import pytest

from segfocal.data.sampling.slice_sampler import SliceSampler, rare_first


class Case:
    """What a sampler reads of a prepared case."""

    def __init__(self, name, pixels):
        self.name, self.pixels = name, np.array(pixels)
        self.shape = (self.pixels.shape[1], 8, 8)


VOLUMES = [Case("a", [[0, 90, 0, 10], [0, 0, 0, 0]]), Case("b", [[0, 0, 0], [0, 1, 0]]), Case("c", [[0, 0], [0, 0]])]
PICTURES = [Case("p", [[5], [0]]), Case("q", [[0], [0]]), Case("r", [[0], [7]])]


def drawn(cases, count=400, **options):
    sampler = SliceSampler(cases, 2, **options)
    return [sampler.draw(np.random.default_rng([n])) for n in range(count)]


def as_ever(cases, rng, foreground):
    """The draw without a remedy, written out: runs of earlier versions must repeat."""
    case = cases[rng.integers(len(cases))]
    wanted = int(rng.integers(2)) if rng.random() < foreground else None
    if wanted is not None and all(c.shape[0] == 1 for c in cases):
        holding = [i for i, c in enumerate(cases) if c.pixels[wanted, 0] > 0]
        case = cases[rng.choice(holding)]
    held = np.flatnonzero(case.pixels[wanted]) if wanted is not None else np.arange(case.shape[0])
    return case, int(rng.choice(held)) if len(held) else int(rng.integers(case.shape[0])), wanted, rng.random()


@pytest.mark.parametrize("cases", [VOLUMES, PICTURES], ids=["volumes", "pictures"])
@pytest.mark.parametrize("foreground", [0.0, 0.5, 1.0])
def test_without_a_remedy_the_draw_is_that_of_earlier_versions(cases, foreground):
    sampler = SliceSampler(cases, 2, foreground=foreground)
    for n in range(100):
        rng = np.random.default_rng(n)
        assert (*sampler.draw(rng)[:3], rng.random()) == as_ever(cases, np.random.default_rng(n), foreground)


@pytest.mark.parametrize(
    ("power", "chances"), [(0.0, [0.5, 0.5]), (0.5, [1 / 11, 10 / 11]), (1.0, [1 / 101, 100 / 101])]
)
def test_rare_structures_have_chances_by_the_power_of_their_pixels(power, chances):
    np.testing.assert_allclose(rare_first([100, 1], power), chances)


def test_a_structure_without_a_pixel_is_never_drawn_for_being_rare():
    np.testing.assert_allclose(rare_first([100, 0, 100], 1.0), [0.5, 0, 0.5])
    np.testing.assert_allclose(rare_first([0, 0], 1.0), [0.5, 0.5])


def test_rare_structures_are_drawn_from_the_cases_that_hold_them():
    found = drawn(VOLUMES, foreground=1.0, rare=0.5)
    assert {(c.case.name, c.slice_index) for c in found if c.structure == 1} == {("b", 1)}
    assert {(c.case.name, c.slice_index) for c in found if c.structure == 0} == {("a", 1), ("a", 3)}
    share = np.mean([c.structure == 1 for c in found])
    assert share == pytest.approx(10 / 11, abs=4 * (10 / 121 / 400) ** 0.5)  # four standard deviations


def test_replay_draws_slices_in_proportion_to_their_last_loss():
    sampler = SliceSampler(VOLUMES, 2, foreground=0.0, replay=1.0)
    losses = sampler.losses
    losses.note(range(9), [0.0, 1.0, 0.0, 2.0, 0.0, 4.0, 0.0, 0.0, 1.0])
    losses.renew()
    found = [sampler.draw(np.random.default_rng([n])) for n in range(800)]
    shares = {at: np.mean([(c.case.name, c.slice_index) == at for c in found]) for at in [("a", 1), ("a", 3)]}
    assert shares["a", 1] == pytest.approx(1 / 8, abs=4 * (7 / 64 / 800) ** 0.5)
    assert shares["a", 3] == pytest.approx(1 / 4, abs=4 * (3 / 16 / 800) ** 0.5)
    assert {(c.case.name, c.slice_index) for c in found} == {("a", 1), ("a", 3), ("b", 1), ("c", 1)}


def test_half_replay_leaves_the_other_half_uniform():
    sampler = SliceSampler(VOLUMES, 2, foreground=0.0, replay=0.5)
    sampler.losses.note(range(9), [1.0] + [0.0] * 8)
    sampler.losses.renew()
    found = [sampler.draw(np.random.default_rng([n])) for n in range(600)]
    first = np.mean([(c.case.name, c.slice_index) == ("a", 0) for c in found])
    assert first == pytest.approx(0.5 + 0.5 / 12, abs=4 * (0.25 / 600) ** 0.5)
    assert len({(c.case.name, c.slice_index) for c in found}) == 9
