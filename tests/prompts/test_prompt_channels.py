"""Prompts as channels of an image: the pixels of clicks, boxes and masks by hand count, and none of what is absent."""

from dataclasses import replace

import pytest
import torch

from segfocal.prompts import ABSENT, Prompt
from segfocal.prompts.prompt_channels import KINDS, channels_of, draw_prompts

SIZES = [(16, 16), (33, 20), (24, 65)]


def none(count=1):
    return Prompt.none(count, device=torch.device("cpu"))


def clicks(*points_xy, labels=None):
    """Return one prompt of clicks, all of them inside unless `labels` says otherwise."""
    xy = torch.tensor([points_xy], dtype=torch.float32)
    return none().only_clicks(xy, torch.tensor([labels or [1] * len(points_xy)]))


def boxes(*corners):
    return none(len(corners)).with_boxes(torch.tensor(corners, dtype=torch.float32))


def drawn(prompt, size=(20, 24), radius=3.0):
    return dict(zip(channels_of(KINDS), draw_prompts(prompt, size, click_radius=radius).unbind(1), strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.2, 0.7)])
def test_the_middle_of_a_disc_is_the_clicked_pixel_at_any_size(size, place):
    x, y = int(place[0] * size[1]), int(place[1] * size[0])
    disc = drawn(clicks((x, y)), size)["clicks inside"][0]
    assert disc[y, x] == disc.max() == 1
    rows, columns = disc.nonzero().unbind(1)
    assert (columns.float().mean(), rows.float().mean()) == (x, y)


@pytest.mark.parametrize(("radius", "pixels"), [(0, 1), (1, 5), (1.5, 9), (2, 13), (2.5, 21), (3, 29)])
def test_a_disc_has_the_pixels_of_a_hand_count(radius, pixels):
    assert drawn(clicks((10, 9)), radius=radius)["clicks inside"].sum() == pixels


def test_a_disc_at_the_border_is_cut_there():
    corner = drawn(clicks((0, 0)))["clicks inside"][0]
    assert corner.sum() == 4 + 3 + 3 + 1  # of its rows 0 to 3
    assert corner[0, :5].tolist() == [1, 1, 1, 1, 0]
    assert drawn(clicks((23, 19)))["clicks inside"][0].flip(0, 1).equal(corner)
    assert not drawn(clicks((-4, 5), (5, 23), (1e30, 2)))["clicks inside"].any()


def test_a_click_between_pixels_is_drawn_around_the_nearest():
    assert drawn(clicks((4.4, 6.6)))["clicks inside"].equal(drawn(clicks((4, 7)))["clicks inside"])


def test_clicks_inside_and_outside_have_their_own_channels_and_may_touch():
    found = drawn(clicks((5, 5), (6, 5), (6, 6), labels=[1, 1, 0]), radius=1)
    assert found["clicks inside"].sum() == 8  # of two discs of 5 pixels, two of which they share
    assert found["clicks inside"].max() == 1
    assert found["clicks outside"].sum() == 5
    assert found["clicks outside"][0, 6, 6] == 1


def test_a_thousand_clicks_are_drawn():
    every = [(x, y) for x in range(24) for y in range(20)] * 3
    assert drawn(clicks(*every), radius=0)["clicks inside"].all()


@pytest.mark.parametrize("size", SIZES)
def test_the_box_channel_is_the_half_open_box(size):
    box = drawn(boxes((2, 3, 7, 5)), size)["box"][0]
    expected = torch.zeros(size)
    expected[3:5, 2:7] = 1
    assert box.equal(expected)


def test_a_box_between_pixels_covers_its_area():
    box = drawn(boxes((2.25, 3.5, 7.0, 5.25)))["box"][0]
    assert box.sum() == pytest.approx(4.75 * 1.75, abs=1e-5)  # float32
    assert box[3, 2] == pytest.approx(0.75 * 0.5)
    assert box[4, 5] == 1


def test_a_box_is_cut_at_the_border():
    box = drawn(boxes((-3, -3, 4, 2), (-5, -5, 99, 99)))["box"]
    assert box[0].sum() == 4 * 2
    assert box[1].all()


def test_a_mask_counts_from_minus_one_to_one_and_without_one_is_zero():
    odds = torch.tensor([0.0, 3.0, 1 / 3, 1e9, 1e-9]).log()
    odds[0] = 0
    logits = odds[None, None, None].expand(2, 1, 1, 5)
    prompt = replace(none(2), mask_logits=logits, has_mask=torch.tensor([True, False]))
    mask = drawn(prompt, (1, 5))["mask"]
    torch.testing.assert_close(mask[0, 0], torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0]))
    assert not mask[1].any()


def test_what_is_absent_draws_nothing_whatever_it_holds():
    nan, inf = torch.nan, torch.inf
    prompt = replace(
        none(4),
        points_xy=torch.tensor([[[3.0, 4.0]], [[nan, 2.0]], [[inf, -inf]], [[1e30, 1.0]]]),
        boxes_xyxy=torch.tensor([[nan] * 4, [1.0, 1.0, nan, 5.0], [-inf, 0.0, inf, 9.0], [4.0, 4.0, 4.0, 9.0]]),
        mask_logits=torch.full((4, 1, 20, 24), nan),
    )
    assert not draw_prompts(prompt, (20, 24), click_radius=3.0).any()


def test_padding_changes_nothing():
    prompt = clicks((5, 6), (9, 9), labels=[1, 0])
    padded = prompt.with_clicks(torch.tensor([[2.0, 2.0]]), torch.tensor([ABSENT]))
    assert all(drawn(padded)[name].equal(channel) for name, channel in drawn(prompt).items())


def test_scribbles_are_three_pixels_wide_and_lassos_as_they_are():
    strokes = torch.zeros(1, 2, 20, 24)
    strokes[0, 0, 5, 4:8] = 1
    strokes[0, 1, 0, 0] = 1
    found = drawn(none().with_scribbles(strokes).with_lassos(strokes))
    assert found["scribbles inside"].sum() == 3 * 6
    assert found["scribbles inside"][0, 4:7, 3:9].all()
    assert found["scribbles outside"].sum() == 4  # of nine, in the corner
    assert found["lassos inside"].equal(strokes[:, 0])
    assert found["lassos outside"].equal(strokes[:, 1])


def test_only_the_kinds_asked_for_are_drawn_in_their_order():
    prompt = clicks((5, 6)).with_boxes(torch.tensor([[1.0, 2, 9, 8]]))
    asked = draw_prompts(prompt, (20, 24), click_radius=3.0, kinds=("box", "clicks"))
    assert channels_of(("box", "clicks")) == ("box", "clicks inside", "clicks outside")
    assert asked.equal(torch.stack([drawn(prompt)[name] for name in channels_of(("box", "clicks"))], 1))


def test_each_prompt_of_a_batch_is_drawn_by_itself():
    xy = torch.tensor([[[3.0, 4.0]], [[8.0, 9.0]]])
    both = none(2).only_clicks(xy, torch.tensor([[1], [0]])).with_boxes(torch.tensor([[1.0, 2, 9, 8], [3, 3, 5, 5]]))
    together = draw_prompts(both, (20, 24), click_radius=2.0)
    for row, label in enumerate((1, 0)):
        own = slice(row, row + 1)
        alone = none().only_clicks(xy[own], torch.tensor([[label]])).with_boxes(both.boxes_xyxy[own])
        assert draw_prompts(alone, (20, 24), click_radius=2.0).equal(together[own])
