"""Scribbles and lassos as pixels, by hand count and by another library; and as clicks and boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline
from scipy import ndimage

from segfocal.prompts import ABSENT, Prompt, as_clicks_and_boxes, draw_line, fill_outline

SIZE = (20, 26)


def none(count=1):
    return Prompt.none(count, device=torch.device("cpu"))


def strokes(*places, side=0):
    """Return one image of strokes with the pixels (y, x)."""
    drawn = torch.zeros(1, 2, *SIZE)
    for y, x in places:
        drawn[0, side, y, x] = 1
    return drawn


def test_a_line_has_the_pixels_of_a_hand_count():
    assert draw_line([(3, 4)], SIZE).nonzero().tolist() == [[4, 3]]
    assert draw_line([(3, 4), (6, 4)], SIZE).nonzero().tolist() == [[4, 3], [4, 4], [4, 5], [4, 6]]
    assert draw_line([(3, 4), (5, 6), (5, 7)], SIZE).nonzero().tolist() == [[4, 3], [5, 4], [6, 5], [7, 5]]
    assert draw_line([(3, 4), (3, 4)], SIZE).sum() == 1


def test_a_line_is_cut_at_the_border():
    assert draw_line([(-9, 4), (2, 4)], SIZE).nonzero().tolist() == [[4, 0], [4, 1], [4, 2]]
    assert not draw_line([(-9, -4), (-2, 40)], SIZE).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_line_is_connected_and_passes_all_its_points(seed):
    points = np.random.default_rng(seed).uniform([0, 0], [25, 19], (12, 2))
    drawn = draw_line(points.tolist(), SIZE).numpy()
    assert ndimage.label(drawn, np.ones((3, 3)))[1] == 1
    assert all(drawn[int(y + 0.5), int(x + 0.5)] for x, y in points)


def test_an_outline_holds_the_pixels_of_a_hand_count():
    assert fill_outline([(2, 3), (6, 3), (6, 5), (2, 5)], SIZE).sum() == 5 * 3
    assert fill_outline([(2, 3), (6, 3), (2, 7)], SIZE).sum() == 5 + 4 + 3 + 2 + 1
    assert fill_outline([(-50, -50), (99, -50), (99, 99), (-50, 99)], SIZE).all()
    flat = [(2.0, 3.0), (9.0, 3.0), (5.0, 3.0)]
    assert fill_outline(flat, SIZE).equal(draw_line(flat, SIZE))


@pytest.mark.parametrize("seed", range(8))
def test_an_outline_is_filled_as_matplotlib_does(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = np.stack([13 + rng.uniform(2, 11, 9) * np.cos(angles), 10 + rng.uniform(2, 9, 9) * np.sin(angles)], 1)
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    expected = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(SIZE)
    closed = [*points.tolist(), points[0].tolist()]
    expected |= draw_line(closed, SIZE).numpy()
    assert (fill_outline(points.tolist(), SIZE).numpy() == expected).all()


def test_a_scribble_becomes_clicks_along_it_and_the_first_is_at_its_middle():
    found = as_clicks_and_boxes(none().with_scribbles(strokes(*[(7, x) for x in range(3, 16)])))
    assert found.scribbles is None
    assert found.point_labels.tolist() == [[ABSENT, 1, 1, 1, 1]]
    assert found.points_xy[0, 1:4].tolist() == [[9.0, 7.0], [3.0, 7.0], [15.0, 7.0]]
    outside = as_clicks_and_boxes(none().with_scribbles(strokes((7, 3), (7, 4), side=1)))
    assert outside.point_labels.tolist() == [[ABSENT, 0]]  # too short for two


def test_a_lasso_becomes_its_box_or_clicks_outside():
    area = [(y, x) for y in range(4, 9) for x in range(5, 17)]
    found = as_clicks_and_boxes(none().with_lassos(strokes(*area)))
    assert found.boxes_xyxy.tolist() == [[5.0, 4.0, 17.0, 9.0]]
    assert (found.point_labels == ABSENT).all()
    boxed = none().with_boxes(torch.tensor([[1.0, 1, 3, 3]]))
    assert as_clicks_and_boxes(boxed.with_lassos(strokes(*area))).boxes_xyxy.equal(boxed.boxes_xyxy)
    outside = as_clicks_and_boxes(none().with_lassos(strokes(*area, side=1)))
    assert outside.boxes_xyxy.isnan().all()
    assert outside.point_labels.tolist() == [[ABSENT, 0, 0, 0, 0]]


def test_what_a_model_knows_is_left_and_each_row_counts_for_itself():
    two = torch.cat([strokes((7, 3)), torch.zeros(1, 2, *SIZE)])
    prompt = replace(none(2), scribbles=two, lassos=two)
    assert as_clicks_and_boxes(prompt, known=("scribbles", "lassos")).scribbles is two
    found = as_clicks_and_boxes(prompt, known=("lassos",))
    assert found.scribbles is None
    assert found.lassos is two
    assert found.point_labels.tolist() == [[ABSENT, 1], [ABSENT, ABSENT]]
    assert as_clicks_and_boxes(none()).points_xy.equal(none().points_xy)
