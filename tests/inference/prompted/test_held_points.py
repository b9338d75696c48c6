"""Points hold in the answer, and change no more than a disc where they did not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.inference.prompted.held_points import DISC_MM, with_points_held

SPACING = (1.0, 1.0)


def blob():
    """Return logits of a square of 6×6 inside."""
    logits = torch.full((20, 24), -3.0)
    logits[6:12, 8:14] = 2.0
    return logits


def test_points_that_hold_already_change_nothing():
    logits = blob()
    assert with_points_held(logits, [(9.4, 7.0), (0.0, 0.0)], [1, 0], spacing_mm=SPACING) is logits
    assert with_points_held(logits, [], [], spacing_mm=SPACING) is logits


def test_an_inside_point_on_the_background_gets_a_disc_of_two_millimetres():
    held = with_points_held(blob(), [(20.0, 15.0)], [1], spacing_mm=SPACING)
    changed = (held > 0) & (blob() <= 0)
    assert int(changed.sum()) == 13  # pixels whose middle is within 2 of a pixel's middle
    assert torch.equal((held > 0) & ~changed, blob() > 0)


def test_an_outside_point_in_the_answer_gets_a_hole():
    held = with_points_held(blob(), [(11.0, 9.0)], [0], spacing_mm=SPACING)
    assert int(((held > 0) != (blob() > 0)).sum()) == 13
    assert held[9, 11] < 0


def test_coarse_pixels_give_all_neighbours_of_a_point():
    held = with_points_held(blob(), [(20.0, 15.0)], [1], spacing_mm=(4.0, 3.0))
    assert (held[14:17, 19:22] > 0).all()  # 5 mm to the corners, 6 mm the radius


def test_a_disc_ends_where_the_other_label_is_nearer():
    held = with_points_held(blob(), [(20.0, 15.0), (21.0, 15.0)], [1, 0], spacing_mm=SPACING)
    assert held[15, 20] > 0 > held[15, 21]
    assert (held[:, 21:] <= 0).all()


def test_of_points_on_one_pixel_the_last_counts():
    for labels, sign in (([1, 0], -1), ([0, 1], 1)):
        held = with_points_held(blob(), [(20.1, 15.0), (19.9, 15.2)], labels, spacing_mm=SPACING)
        assert held[15, 20] * sign > 0


def test_points_past_the_border_count_for_the_pixel_at_it():
    held = with_points_held(blob(), [(23.4, -0.4)], [1], spacing_mm=SPACING)
    assert held[0, 23] > 0


@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 12),
    spacing=st.tuples(st.floats(0.3, 5), st.floats(0.3, 5)),
    scale=st.sampled_from([0.1, 5.0, 60.0]),
)
@settings(max_examples=1000, deadline=None)
def test_every_point_holds_and_nothing_far_from_the_points_changes(seed, count, spacing, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(13, 17, generator=generator) * scale
    places = torch.rand(count, 2, generator=generator) * torch.tensor([16.98, 12.98]) - 0.49
    points = [tuple(place) for place in places.tolist()]
    labels = torch.randint(0, 2, (count,), generator=generator).tolist()
    held = with_points_held(logits, points, labels, spacing_mm=spacing)
    last = {(round(y), round(x)): label for (x, y), label in zip(points, labels, strict=True)}
    for place, label in last.items():
        assert (held[place] > 0) == bool(label)
    far = torch.ones_like(logits, dtype=torch.bool)
    reach = max(DISC_MM, 1.5 * max(spacing)) + 1e-6
    for y, x in last:
        rows, columns = (torch.arange(13)[:, None] - y) * spacing[0], (torch.arange(17) - x) * spacing[1]
        far &= torch.hypot(rows, columns) > reach
    assert torch.equal(held[far], logits[far])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_point_holds_between_pixels_too(sign):
    logits = torch.full((9, 9), -5.0 * sign)
    held = with_points_held(logits, [(4.5, 3.5)], [int(sign > 0)], spacing_mm=SPACING)
    assert (held[3:5, 4:6] * sign > 0).all()  # the four pixels of which a finer grid takes its value there
