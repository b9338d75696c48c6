"""DICOM segmentations and contours as label maps, in and out."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from segfocal.errors import UserError  # noqa: E402
from segfocal.grid import Grid, Volume  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom import labels as dicom_labels  # noqa: E402
from segfocal.io.dicom import seg_writer  # noqa: E402
from segfocal.io.dicom.contours import inside_of  # noqa: E402
from tests.dicom import make_series, make_structure_set  # noqa: E402

NAMES = {3: "liver", 7: "spleen", 9: "nowhere"}
VALUES = {name: value for value, name in NAMES.items()}


@pytest.fixture
def series(tmp_path):
    return make_series(tmp_path / "series")


def label_map(grid, seed=0):
    return np.random.default_rng(seed).choice([0, 3, 7], grid.shape).astype(np.uint8)


def write_seg(path, series, labels, **options):
    volumes.write(path, Volume(array=labels, grid=dicom.read_grid(series)), like=series, names=NAMES, **options)
    return path


def test_segmentation_written_is_read_back(series, tmp_path):
    grid = dicom.read_grid(series)
    labels = label_map(grid)
    labels[:, :, 1] = 0  # a frame that is left out
    path = write_seg(tmp_path / "mask.dcm", series, labels)
    back = volumes.read_labels(path, on=grid, values=VALUES)
    np.testing.assert_array_equal(back.array, labels)
    assert dicom_labels.names(path) == ["liver", "spleen", "nowhere"]
    numbered = volumes.read_labels(path, on=grid)
    np.testing.assert_array_equal(numbered.array, np.choose(labels // 3, [0, 1, 2]))


def test_segmentation_refers_to_its_slices_and_names_its_maker(series, tmp_path):
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    found = highdicom.seg.segread(path)
    slices = [pydicom.dcmread(file) for file in series.iterdir()]
    listed = found.ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in listed.ReferencedInstanceSequence} == {
        one.SOPInstanceUID for one in slices
    }
    segment = found.get_segment_description(1)
    assert segment.segment_label == "liver"
    assert segment.algorithm_identification.name == "segfocal"
    assert segment.segmented_property_category.value == "123037004"
    assert found.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert (found.Manufacturer, found.SegmentationType) == ("segfocal", "BINARY")
    # by highdicom's own reading, slice by slice of the source
    ordered = sorted(slices, key=lambda one: one.ImagePositionPatient[2])
    masks = found.get_pixels_by_source_instance([one.SOPInstanceUID for one in ordered], combine_segments=True)
    np.testing.assert_array_equal(
        masks.transpose(2, 1, 0), np.choose(label_map(dicom.read_grid(series)) // 3, [0, 1, 2])
    )


def test_only_these_headers_of_a_patient_are_copied(series, tmp_path):
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    found, source = pydicom.dcmread(path), pydicom.dcmread(next(series.iterdir()))
    told = {"PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"} | {
        *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyInstanceUID", "FrameOfReferenceUID"),
    }
    technical = {"SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "InstanceNumber"}
    same = {one.keyword for one in found if one.keyword in source and one.value == source[one.keyword].value}
    assert same - technical == told


def test_segmentation_of_another_axis_order_lands_on_the_image(series, tmp_path):
    grid = dicom.read_grid(series)
    labels = label_map(grid)
    path = write_seg(tmp_path / "mask.dcm", series, labels)
    for frame in ("SPL", "RAS", "AIR"):
        turned = Volume(array=labels, grid=grid).oriented(frame)
        back = volumes.read_labels(path, on=turned.grid, values=VALUES)
        np.testing.assert_array_equal(back.array, turned.array)


def other_type(series, path, stack, kind, **more):
    slices = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    count = stack.shape[3] if stack.ndim == 4 else int(stack.max())
    segments = [seg_writer._described(number + 1, f"s{number + 1}") for number in range(count)]
    highdicom.seg.Segmentation(
        slices, stack, kind, segments, "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "1", **more
    ).save_as(path)
    return path


def test_label_map_segmentation_is_read(series, tmp_path):
    grid = dicom.read_grid(series)
    numbers = np.random.default_rng(2).integers(0, 4, grid.shape).astype(np.uint8)
    path = other_type(series, tmp_path / "m.dcm", numbers.transpose(2, 1, 0), "LABELMAP")
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array, numbers)


def test_fractions_are_inside_from_one_half(series, tmp_path):
    grid = dicom.read_grid(series)
    shares = np.random.default_rng(2).integers(0, 256, grid.shape)
    stack = (shares / 255).astype(np.float32).transpose(2, 1, 0)[..., None]
    path = other_type(series, tmp_path / "m.dcm", stack, "FRACTIONAL")
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array, shares >= 128)


def test_of_overlapping_segments_the_smaller_lies_on_top(series, tmp_path):
    grid = dicom.read_grid(series)
    body, organ = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    body[1:8, 1:6], organ[3:5, 2:4, 1:3] = True, True
    for order in ((body, organ), (organ, body)):
        stack = np.stack([one.transpose(2, 1, 0) for one in order], axis=-1).astype(np.uint8)
        path = other_type(series, tmp_path / f"m{order[0].sum()}.dcm", stack, "BINARY")
        values = {"s1": 1, "s2": 2} if order[0] is body else {"s1": 2, "s2": 1}
        back = volumes.read_labels(path, on=grid, values=values).array
        np.testing.assert_array_equal(back, np.where(organ, 2, np.where(body, 1, 0)))


def test_segmentation_off_the_voxels_of_an_image_is_refused(series, tmp_path):
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "mask.dcm", series, label_map(grid))
    shifted, coarse, short = grid.affine.copy(), grid.affine.copy(), Grid(shape=(9, 7, 3), affine=grid.affine)
    shifted[0, 3] += 0.3
    coarse[:3, 0] *= 2
    for other in (Grid(shape=grid.shape, affine=shifted), Grid(shape=grid.shape, affine=coarse)):
        with pytest.raises(UserError, match="a segmentation on the voxels of its image"):
            volumes.read_labels(path, on=other)
    with pytest.raises(UserError, match="a segmentation inside its image"):
        volumes.read_labels(path, on=short)
    with pytest.raises(UserError, match="a DICOM label, which is drawn on an image"):
        volumes.read_labels(path)


def test_damaged_segmentation_is_one_clear_line(series, tmp_path):
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "mask.dcm", series, label_map(grid))
    whole = path.read_bytes()
    for size in (0, 200, 700, 1500, 3000, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"mask\.dcm") as caught:
            volumes.read_labels(path, on=grid)
        assert "\n" not in str(caught.value)


def test_outputs_in_dcm_need_a_series_with_uids(series, tmp_path):
    nameless = make_series(tmp_path / "nameless", uids={"StudyInstanceUID": ""})
    with pytest.raises(UserError, match="slices with a StudyInstanceUID, which a segmentation refers to"):
        volumes.check_output(tmp_path / "mask.dcm", like=nameless)
    with pytest.raises(UserError, match=r"a DICOM series as input for an output ending in \.dcm; found scan\.nii\.gz"):
        volumes.check_output(tmp_path / "mask.dcm", like=tmp_path / "scan.nii.gz")
    with pytest.raises(UserError, match=r"expected a file name ending in \.nii\.gz"):
        volumes.check_output(tmp_path / "mask.png", like=series)


def test_segmentation_is_never_half_written_nor_overwritten(series, tmp_path):
    labels = label_map(dicom.read_grid(series))
    path = write_seg(tmp_path / "mask.dcm", series, labels)
    with pytest.raises(UserError, match="an existing file"):
        write_seg(path, series, labels)
    write_seg(path, series, labels, overwrite=True)
    labels[0, 0, 0] = 99
    with pytest.raises(UserError, match="a name for every label value; found none for 99"):
        write_seg(tmp_path / "other.dcm", series, labels)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mask.dcm", "series"]


def test_series_without_patient_headers_is_segmented(tmp_path):
    series = make_series(tmp_path / "s", PatientID=None, PatientName=None, StudyDate=None, AccessionNumber=None)
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    assert pydicom.dcmread(path).PatientID == ""


def circle(centre, radius, z, count=200):
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles), np.full(count, z)], 1)


@pytest.fixture
def scan(tmp_path):
    """A series of 40×30×5 voxels."""
    series = make_series(tmp_path / "scan", np.zeros((40, 30, 5), np.int16))
    return series, pydicom.dcmread(next(series.iterdir()))


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


def test_names_are_those_with_closed_contours(scan, tmp_path):
    _, first = scan
    rois = {"liver": [circle((0, -8), 3, 30.0)], "isocentre": [np.zeros((1, 3))], "empty": []}
    path = make_structure_set(tmp_path / "rs.dcm", first, rois)
    assert dicom_labels.names(path) == ["liver"]
    assert dicom_labels.reference(path).series == (first.SeriesInstanceUID,)
    empty = make_structure_set(tmp_path / "empty.dcm", first, {"point": [np.zeros((1, 3))]})
    with pytest.raises(UserError, match="at least one structure; found no closed contour"):
        dicom_labels.names(empty)


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


def test_an_image_is_no_label_and_a_label_no_image(series, tmp_path):
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    with pytest.raises(UserError, match="expected DICOM slices; found segmentation"):
        volumes.read(path)
    with pytest.raises(UserError, match="found a slice of an image"):
        volumes.read_labels(next(series.iterdir()), on=dicom.read_grid(series))
    with pytest.raises(UserError, match="found no such file"):
        volumes.read_labels(tmp_path / "none.dcm", on=dicom.read_grid(series))
