"""Painted voxels as lines and outlines."""

import numpy as np
import pytest
from scipy import ndimage

from segfocal.prompts import fill_outline
from segfocal.serve.nninteractive.marked_voxels import MOST_PLACES, lines_through, outlines


def test_a_thin_line_is_itself_in_order():
    voxels = np.array([[2, 4, 7], [2, 4, 5], [2, 5, 6], [2, 3, 8], [2, 4, 9]])
    (line,) = lines_through(voxels)
    ordered = [[2, 4, 5], [2, 5, 6], [2, 4, 7], [2, 3, 8], [2, 4, 9]]
    assert line.tolist() in (ordered, ordered[::-1])


def test_a_thick_stroke_is_one_line_within_it_from_end_to_end():
    stroke = np.zeros((3, 40, 60), dtype=bool)
    stroke[1, 10:13, 5:55] = True
    (line,) = lines_through(np.argwhere(stroke))
    assert stroke[tuple(line.astype(int).T)].all()
    assert (line[:, 2].min(), line[:, 2].max()) == (5, 54)
    assert np.abs(np.diff(line, axis=0)).max() == 1


def test_each_piece_and_each_arm_gets_a_line():
    marked = np.zeros((1, 50, 50), dtype=bool)
    marked[0, 25, 5:45] = marked[0, 5:45, 25] = True  # a cross
    marked[0, 2, 2] = True  # a dot
    lines = lines_through(np.argwhere(marked))
    ends = {tuple(place) for line in lines for place in line.astype(int)}
    assert {(0, 5, 25), (0, 44, 25), (0, 25, 5), (0, 25, 44), (0, 2, 2)} <= ends
    assert len(lines) <= 4


def test_a_line_across_slices_holds_a_place_on_each():
    (line,) = lines_through(np.array([[z, 10 + z, 20] for z in range(30)]))
    assert sorted(line[:, 0]) == list(range(30))


def test_a_long_line_is_thinned_to_what_a_prompt_may_have():
    (line,) = lines_through(np.stack([np.zeros(5000), np.zeros(5000), np.arange(5000)], axis=1).astype(int))
    assert len(line) == MOST_PLACES
    assert {0.0, 4999.0} == {line[0, 2], line[-1, 2]}


def filled(outline, shape):
    """Return the pixels of an outline and those whose middles lie within, by the winding of its edges."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    found = np.zeros(shape, dtype=bool)
    for (y0, x0), (y1, x1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        crosses = (y0 > rows) != (y1 > rows)
        if y0 != y1:
            found ^= crosses & (columns < (x1 - x0) * (rows - y0) / (y1 - y0) + x0)
    found[tuple(outline.astype(int).T)] = True
    return found


@pytest.mark.parametrize("seed", range(20))
def test_an_outline_goes_round_the_pixels_of_its_region_and_no_others(seed):
    rng = np.random.default_rng(seed)
    dots = rng.random((33, 41)) > 0.98
    region = ndimage.binary_fill_holes(ndimage.binary_dilation(dots, iterations=int(rng.integers(1, 5))))
    lines = outlines(region)
    assert np.array_equal(np.logical_or.reduce([filled(line, region.shape) for line in lines]), region)
    drawn = [fill_outline(line[:, ::-1].tolist(), region.shape).numpy() for line in lines]
    assert np.array_equal(np.logical_or.reduce(drawn), region)  # as a prompt is drawn


@pytest.mark.parametrize("pixels", [[(4, 5)], [(4, 5), (4, 6)], [(0, 0), (0, 1), (1, 1)], [(2, x) for x in range(9)]])
def test_the_smallest_regions_have_outlines_too(pixels):
    region = np.zeros((9, 9), dtype=bool)
    region[tuple(np.array(pixels).T)] = True
    (line,) = outlines(region)
    assert len(line) >= 3
    assert np.array_equal(fill_outline(line[:, ::-1].tolist(), region.shape).numpy(), region)


def test_a_hole_is_not_kept():
    region = np.ones((9, 9), dtype=bool)
    region[3:6, 3:6] = False
    (line,) = outlines(region)
    assert filled(line, region.shape).all()
