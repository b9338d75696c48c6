"""Strokes that training draws: scribbles stay in their region, lassos hold it, and each row counts for itself."""

import pytest
import torch
from scipy import ndimage

from segfocal.prompts import LASSO_DRAWS, SCRIBBLE_DRAWS, component_at, lassos_around, scribbles_in

SHAPE = (30, 26)


def regions(count):
    """Return ellipses of random sizes and places, the last one empty."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.meshgrid(torch.arange(SHAPE[0]), torch.arange(SHAPE[1]), indexing="ij")
    y, x, a, b = torch.rand(4, count, 1, 1, generator=generator) * torch.tensor([16, 12, 6, 6])[:, None, None, None]
    inside = ((rows - y - 7) / (a + 1)) ** 2 + ((columns - x - 7) / (b + 1)) ** 2 <= 1
    inside[-1] = False
    return inside


def draws(count, numbers, seed=0):
    return torch.rand(count, numbers, generator=torch.Generator().manual_seed(seed))


def test_a_scribble_lies_in_its_region_and_both_kinds_come():
    inside, numbers = regions(60), draws(60, SCRIBBLE_DRAWS)
    lines = scribbles_in(inside, numbers)
    assert not lines[~inside].any()
    assert lines.flatten(1).any(1).tolist() == [True] * 59 + [False]
    thin = lines.sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    assert thin[:-1][inside[:-1].sum((1, 2)) > 60].max() < 0.5


def test_the_middle_line_of_a_bar_is_its_middle():
    bar = torch.zeros(1, *SHAPE, dtype=torch.bool)
    bar[0, 10:15, 3:23] = True
    line = scribbles_in(bar, torch.tensor([[0.9, 0.0, 0.0, 0.0]]))[0]
    assert line[12, 5:21].all()
    assert not line[[10, 11, 13, 14]][:, 6:20].any()


def test_a_curve_starts_and_ends_at_its_pixels():
    bar = torch.zeros(1, *SHAPE, dtype=torch.bool)
    bar[0, 10, 3:23] = True
    line = scribbles_in(bar, torch.tensor([[0.1, 0.1, 0.5, 0.9]]))[0]
    assert line.nonzero().tolist() == [[10, x] for x in range(5, 22)]


def test_a_lasso_holds_its_region_in_one_piece_and_keeps_near():
    inside, numbers = regions(60), draws(60, LASSO_DRAWS)
    areas = lassos_around(inside, numbers) > 0
    assert areas[inside].all()
    assert not areas[-1].any()
    for area, own in zip(areas[:-1], inside[:-1], strict=True):
        assert ndimage.label(area.numpy(), torch.ones(3, 3).numpy())[1] == 1
        away = ndimage.distance_transform_edt(~own.numpy())[area.numpy()].max()
        assert 1 <= away <= 1 + 0.25 * own.sum().sqrt()


@pytest.mark.parametrize(("draw", "numbers"), [(scribbles_in, SCRIBBLE_DRAWS), (lassos_around, LASSO_DRAWS)])
def test_a_stroke_does_not_depend_on_the_rest_of_the_batch(draw, numbers):
    inside, uniforms = regions(12), draws(12, numbers)
    together = draw(inside, uniforms)
    for row in (0, 5, 11):
        assert draw(inside[row : row + 1], uniforms[row : row + 1])[0].equal(together[row])


def test_a_component_is_the_one_under_the_pixel():
    mask = torch.zeros(2, 8, 9, dtype=torch.bool)
    mask[:, 1:3, 1:4] = True
    mask[:, 3, 4] = True  # at a corner: connected
    mask[:, 6:, 6:] = True
    found = component_at(mask, torch.tensor([[2.0, 2.0], [0.0, 7.0]]))
    assert found[0].sum() == 7
    assert not found[1].any()
