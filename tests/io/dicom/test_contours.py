"""Contours (RTSTRUCT) are filled by the even-odd rule on the slices of their image."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom.contours import inside_of  # noqa: E402
from tests.dicom import make_structure_set  # noqa: E402
from tests.io.dicom.drawn_labels import circle  # noqa: E402


def lps(grid):
    """Return the LPS position of each voxel [x,y,z,3]."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return (index @ grid.affine[:3, :3].T + grid.affine[:3, 3]) * [-1, -1, 1]


def test_contours_are_filled_where_voxel_centres_are_inside(scan, tmp_path):
    series, first = scan
    grid = dicom.read_grid(series)
    centre, z = (1.7, -8.1), 32.5
    path = make_structure_set(tmp_path / "rs.dcm", first, {"ball": [circle(centre, 6.0, z), circle(centre, 3.0, 35.0)]})
    labels = volumes.read_labels(path, on=grid, values={"ball": 4})
    place = lps(grid)
    distance = np.hypot(place[..., 0] - centre[0], place[..., 1] - centre[1])
    expected = ((distance < 6.0) & (place[..., 2] == z)) | ((distance < 3.0) & (place[..., 2] == 35.0))
    # a polygon of 200 corners lies at most r(1-cos(π/200)) = 0.0008 mm inside its circle
    assert (np.abs(distance[expected ^ (labels.array == 4)] - 6.0) < 0.001).all()
    assert set(np.unique(labels.array)) == {0, 4}


def test_contours_inside_others_are_holes_and_doubles_count_once(scan, tmp_path):
    series, first = scan
    grid = dicom.read_grid(series)
    rings = [circle((1.7, -8.1), radius, 32.5) for radius in (7.0, 4.0, 2.0)]
    path = make_structure_set(tmp_path / "rs.dcm", first, {"ring": [*rings, rings[0]]})
    place = lps(grid)
    distance = np.hypot(place[..., 0] - 1.7, place[..., 1] + 8.1)
    inside = ((distance < 7) ^ (distance < 4) ^ (distance < 2)) & (place[..., 2] == 32.5)
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array == 11, inside)


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


def test_contours_land_on_an_image_of_another_axis_order(scan, tmp_path):
    series, first = scan
    grid = dicom.read_grid(series)
    path = make_structure_set(tmp_path / "rs.dcm", first, {"ball": [circle((1.7, -8.1), 6.0, 32.5)]})
    straight = volumes.read_labels(path, on=grid)
    turned = straight.oriented("SRA")
    np.testing.assert_array_equal(volumes.read_labels(path, on=turned.grid).array, turned.array)


def test_contours_off_the_slices_are_refused(scan, tmp_path):
    series, first = scan
    grid = dicom.read_grid(series)
    tilted = circle((1.7, -8.1), 6.0, 32.5)
    tilted[:, 2] += 0.5 * tilted[:, 0]
    for contour, message in (
        (circle((0, -8), 3, 31.25), r"found one at slice 0\.50, between two"),
        (circle((0, -8), 3, 60.0), "found one at slice 12 of 0 to 4"),
        (tilted, "found one across slices"),
    ):
        path = make_structure_set(tmp_path / "rs.dcm", first, {"x": [contour]})
        with pytest.raises(UserError, match=message):
            volumes.read_labels(path, on=grid)
