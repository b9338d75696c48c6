"""Outlines of a structure on a slice: doubles count once, nested ones are holes, crossing ones join."""

import numpy as np
import pytest

from segfocal.io.dicom.outlines import filled, inside_of


def test_fill_agrees_with_matplotlib_at_every_point():
    from matplotlib.path import Path as Polygon

    rng = np.random.default_rng(0)
    points = np.stack(np.meshgrid(np.arange(23), np.arange(17), indexing="ij"), axis=-1).reshape(-1, 2)
    for count in (3, 4, 7, 40):  # corners at random: edges cross, parts lie outside of the lattice
        outlines = [rng.uniform(-6, 29, (count, 2)) for _ in range(3)]
        odd = np.logical_xor.reduce([Polygon(outline).contains_points(points) for outline in outlines])
        np.testing.assert_array_equal(inside_of(outlines, (23, 17)), odd.reshape(23, 17))


def test_boxes_that_share_a_side_share_no_voxel():
    left, right = (np.array([[x, 1], [x + 3, 1], [x + 3, 4], [x, 4]], dtype=float) for x in (2, 5))
    one, other = inside_of([left], (10, 6)), inside_of([right], (10, 6))
    assert not (one & other).any()
    assert one.sum() == other.sum() == 9


def box(x0, y0, x1, y1):
    """Return the outline half a point around the points x0…x1, y0…y1."""
    return np.array([[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5], [x0 - 0.5, y1 + 0.5]])


SHAPE = (30, 20)
OUTER, HOLE, ISLAND, BESIDE = box(2, 2, 17, 17), box(4, 4, 11, 11), box(6, 6, 7, 7), box(20, 2, 25, 5)


def counted(*outlines, **options):
    """Return how many points are inside, the same in whatever order the outlines come."""
    counts = {int(filled(order, SHAPE, **options).sum()) for order in (outlines, outlines[::-1])}
    assert len(counts) == 1
    return counts.pop()


def test_holes_islands_and_neighbours_by_hand():
    assert counted(OUTER) == 256
    assert counted(OUTER, HOLE) == 256 - 64
    assert counted(OUTER, HOLE, ISLAND) == 256 - 64 + 4
    assert counted(OUTER, HOLE, ISLAND, BESIDE) == 256 - 64 + 4 + 24
    assert counted(OUTER, HOLE, HOLE + 0.1, np.roll(OUTER[::-1], 1, 0)) == 256 - 64
    assert counted(OUTER, HOLE, exclusive=True) == 256 - 64
    assert counted(np.zeros((3, 2)) + 0.5) == 0


def test_a_wall_of_one_point_is_kept():
    assert counted(OUTER, box(3, 3, 16, 16)) == 256 - 14 * 14


def test_a_keyhole_leaves_its_hole_out():
    """One outline: around, through a slit to the hole, round it the other way, and back."""
    keyhole = np.concatenate([OUTER, OUTER[:1], HOLE[::-1][[3, 0, 1, 2, 3]]])
    assert counted(keyhole) == 256 - 64
    assert counted(keyhole, np.roll(keyhole, 3, 0)) == 256 - 64


def test_outlines_that_cross_join():
    assert counted(box(2, 2, 11, 11), box(7, 7, 16, 16)) == 100 + 100 - 25
    assert counted(box(2, 2, 11, 11), box(3, 2, 12, 11)) == 110  # drawn twice, a point apart
    assert counted(box(2, 2, 11, 11), box(7, 7, 16, 16), exclusive=True) == 150


@pytest.mark.parametrize("seed", range(5))
def test_an_outline_with_more_corners_is_the_same_outline(seed):
    """A blob of 40 corners and the same with a corner amid each edge, begun anywhere, in either direction."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = rng.uniform(4, 8) * (1 + 0.1 * rng.normal(size=40))
    blob = np.stack([14 + radii * np.cos(angles), 10 + radii * np.sin(angles)], axis=1)
    finer = np.stack([blob, (blob + np.roll(blob, -1, 0)) / 2], axis=1).reshape(-1, 2)
    again = np.roll(finer[::-1] + rng.uniform(-0.05, 0.05, finer.shape), int(rng.integers(80)), axis=0)
    both = filled([blob, again], SHAPE)
    assert any(np.array_equal(both, filled([one], SHAPE)) for one in (blob, again))
    assert both.sum() > 30


def test_many_outlines_take_little_time():
    rng = np.random.default_rng(0)
    corners = [box(*low, *(low + rng.integers(0, 4, 2))) for low in rng.integers(0, 500, (2000, 2))]
    assert filled(corners, (512, 512)).sum() > 2000
