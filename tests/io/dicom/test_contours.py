"""Contours (RTSTRUCT) are filled by the even-odd rule on the slices of their image."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom.contours import ContoursPassedOver  # noqa: E402
from tests.dicom import make_contour, make_structure_set  # noqa: E402
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


def square(scan, size=10, z=2, at=(5, 5)):
    """Return the outline (LPS) half a voxel around size × size voxels of a slice."""
    low, high = np.array(at) - 0.5, np.array(at) + size - 0.5
    corners = np.array([[low[0], low[1], z], [high[0], low[1], z], [high[0], high[1], z], [low[0], high[1], z]])
    affine = dicom.read_grid(scan[0]).affine
    return (corners @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]


def voxels_of(scan, folder, contours):
    """Return how many voxels of each slice a structure of these contours has."""
    path = make_structure_set(folder / "rs.dcm", scan[1], {"x": contours})
    labels = volumes.read_labels(path, on=dicom.read_grid(scan[0]))
    return np.count_nonzero(labels.array, axis=(0, 1)).tolist()


def test_an_outline_drawn_twice_from_another_point_is_one(scan, tmp_path):
    first = square(scan)
    nearly = first + np.array([0.05, -0.05, 0.1])
    for second in (first, np.roll(first, 1, 0), first[::-1], np.roll(first[::-1], 2, 0), nearly):
        assert voxels_of(scan, tmp_path, [first, second]) == [0, 0, 100, 0, 0]
    assert voxels_of(scan, tmp_path, [np.concatenate([first, first])]) == [0, 0, 100, 0, 0]
    closed = first[[0, 1, 2, 3, 0]]
    assert voxels_of(scan, tmp_path, [first, closed, np.roll(first, 1, 0)]) == [0, 0, 100, 0, 0]


@pytest.mark.parametrize("kind", ["INTERPOLATED_PLANAR", "CLOSEDPLANAR_XOR", "closed_planar "])
@pytest.mark.filterwarnings("ignore:The value length:UserWarning", "ignore:Invalid value:UserWarning")  # pydicom's
def test_closed_contours_of_every_kind_are_filled(scan, tmp_path, kind):
    contours = [square(scan, z=1), make_contour(square(scan, z=2), kind), square(scan, z=3)]
    assert voxels_of(scan, tmp_path, contours) == [0, 100, 100, 100, 0]


def test_contours_that_take_away_leave_what_is_in_an_odd_number(scan, tmp_path):
    """Two squares of 100 voxels that share 5 × 5."""
    one, other = square(scan), square(scan, at=(10, 10))
    assert voxels_of(scan, tmp_path, [one, other]) == [0, 0, 175, 0, 0]
    exclusive = [make_contour(points, "CLOSEDPLANAR_XOR") for points in (one, other)]
    assert voxels_of(scan, tmp_path, exclusive) == [0, 0, 150, 0, 0]


def without(contour, *names):
    for name in names:
        delattr(contour, name)
    return contour


def spoiled(contour, **elements):
    for name, value in elements.items():
        setattr(contour, name, value)
    return contour


NOTHING = {
    "three points on a line": (lambda square: make_contour(square[0] + np.outer([0, 1, 2], [1, 1, 0])), "on one line"),
    "one point three times": (lambda square: make_contour(square[[0, 0, 0]]), "on one line"),
    "two points": (lambda square: make_contour(square[:2]), "fewer than three points"),
    "one point": (lambda square: make_contour(square[:1], "CLOSED_PLANAR"), "fewer than three points"),
    "no coordinates": (lambda square: without(make_contour(square), "ContourData"), "without ContourData"),
    "empty": (lambda square: spoiled(make_contour(square), ContourData=[]), "without ContourData"),
    "not a number": (lambda square: make_contour(np.r_[square, [[np.nan, 0, 0]]]), "no numbers of mm"),
    "infinite": (lambda square: make_contour(np.r_[square, [[np.inf, 0, 0]]]), "no numbers of mm"),
    "ten coordinates": (
        lambda square: spoiled(make_contour(square), ContourData=[*square.ravel()[:10]]),
        "not three a point",
    ),
    "other count": (lambda square: spoiled(make_contour(square), NumberOfContourPoints=5), "NumberOfContourPoints"),
    "beside": (lambda square: make_contour(square + np.array([500, 0, 0])), "wholly outside of the image"),
    "open": (lambda square: make_contour(square, "OPEN_PLANAR"), "OPEN_PLANAR"),
    "not planar": (lambda square: make_contour(square, "OPEN_NONPLANAR"), "OPEN_NONPLANAR"),
    "point": (lambda square: make_contour(square[:1], "POINT"), "of the kind POINT"),
    "unknown": (lambda square: make_contour(square, "SPIRAL"), "an unknown kind"),
    "no kind": (lambda square: without(make_contour(square), "ContourGeometricType"), "an unknown kind"),
}


@pytest.mark.parametrize("kind", NOTHING)
@pytest.mark.filterwarnings("ignore:Value")  # pydicom's, of nan
def test_a_contour_that_encloses_nothing_is_passed_over_and_counted(scan, tmp_path, kind):
    spoil, reason = NOTHING[kind]
    contours = [square(scan, z=1), spoil(square(scan, z=2)), spoil(square(scan, z=2)), square(scan, z=3)]
    with pytest.warns(ContoursPassedOver, match="2 contours of ROI number 11 are passed over in .*rs.dcm: 2 ") as told:
        assert voxels_of(scan, tmp_path, contours) == [0, 100, 0, 100, 0]
    assert [reason in str(one.message) for one in told if one.category is ContoursPassedOver] == [True]


def test_points_as_far_as_the_moon_take_no_memory(scan, tmp_path):
    far = square(scan)
    far[2] += [1e8, 1e8, 0]
    assert voxels_of(scan, tmp_path, [far])[2] > 100
