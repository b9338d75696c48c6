"""A stroke paints the voxels whose centres lie within its radius, counted by hand and by brute force."""

import numpy as np
import pytest

from segfocal.grid import Grid
from segfocal.serve.brush import check_stroke, normal_axis, paint, painted
from segfocal.serve.history import Stroke
from segfocal.serve.refusal import Refused
from segfocal.structure import Structure
from tests.scans import affine_of

GRID = Grid(shape=(12, 10, 8), affine=affine_of(spacing_mm=(1.0, 2.0, 3.0), axes="LSA", degrees=(5.0, 10.0, -7.0)))
SINGLE = (Structure(name="a", value=3), Structure(name="b", value=7))
TOGETHER = (Structure(name="a", value=1, overlaps=True), Structure(name="b", value=2, overlaps=True))


def world(*voxel, grid=GRID):
    return (grid.affine @ [*voxel, 1.0])[:3].tolist()


def stroke(*voxels, radius_mm=2.0, plane=None, structure="a", erase=False):
    places = [world(*voxel) for voxel in voxels]
    return Stroke(serial=1, structure=structure, world_mm=places, radius_mm=radius_mm, plane=plane, erase=erase)


def test_a_dab_in_a_plane_by_hand():
    found = {tuple(map(int, voxel)) for voxel in painted(stroke((5, 4, 3), plane="coronal"), GRID)}
    assert found == {(3, 4, 3), (4, 4, 3), (5, 4, 3), (6, 4, 3), (7, 4, 3), (5, 3, 3), (5, 5, 3)}


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("axial", 1), ("coronal", 2)])
def test_planes_are_the_bodys_whichever_way_the_axes_run(plane, axis):
    assert normal_axis(GRID, plane) == axis
    assert set(painted(stroke((5, 4, 3), (8, 6, 5), plane=plane), GRID)[:, axis]) == {(5, 4, 3)[axis]}


def test_a_line_in_space_is_what_lies_near_any_place_on_it():
    line = [(1.3, 2.0, 1.0), (8.0, 7.5, 5.2), (11.0, 1.0, 6.6)]
    found = {tuple(map(int, voxel)) for voxel in painted(stroke(*line, radius_mm=3.3), GRID)}
    spacing = np.array([1.0, 2.0, 3.0])
    pieces = [np.linspace(a, b, 4001) for a, b in zip(np.array(line), np.array(line)[1:], strict=False)]
    dense = np.concatenate(pieces) * spacing
    distances = {
        voxel: np.linalg.norm(dense - np.array(voxel) * spacing, axis=1).min() for voxel in np.ndindex(GRID.shape)
    }
    assert {voxel for voxel, mm in distances.items() if mm <= 3.3} == found  # the steps of 3 µm miss none by more


def test_a_stroke_beyond_the_border_paints_what_is_there():
    assert painted(stroke((0, 0, 0), radius_mm=1.0), GRID).tolist() == [[0, 0, 0], [1, 0, 0]]


def labels_after(*strokes, structures, begun):
    labels = np.full(GRID.shape, begun, dtype=np.uint8)
    for one in strokes:
        paint(labels, painted(one, GRID), one, structures)
    return int(labels[5, 4, 3])


@pytest.mark.parametrize(
    ("begun", "painting", "structures", "after"),
    [
        (0, {"structure": "a"}, SINGLE, 3),
        (7, {"structure": "a"}, SINGLE, 3),
        (7, {"structure": "a", "erase": True}, SINGLE, 7),
        (3, {"structure": "a", "erase": True}, SINGLE, 0),
        (7, {"structure": None}, SINGLE, 0),
        (2, {"structure": "a"}, TOGETHER, 3),
        (3, {"structure": "a", "erase": True}, TOGETHER, 2),
        (3, {"structure": None}, TOGETHER, 0),
    ],
)
def test_paint_and_rubber(begun, painting, structures, after):
    assert labels_after(stroke((5, 4, 3), **painting), structures=structures, begun=begun) == after


@pytest.mark.parametrize("radius_mm", [0.0, -1.0, 201.0])
def test_a_brush_of_no_or_absurd_size_is_refused(radius_mm):
    with pytest.raises(Refused, match="radius_mm above 0"):
        check_stroke(stroke((5, 4, 3), radius_mm=radius_mm), GRID)
