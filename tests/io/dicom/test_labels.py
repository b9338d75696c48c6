"""DICOM labels in: their structures by name, the smaller one on top where they overlap."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom import labels as dicom_labels  # noqa: E402
from tests.dicom import make_structure_set  # noqa: E402
from tests.io.dicom.drawn_labels import circle, label_map, other_type, write_seg  # noqa: E402


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


def test_names_are_those_with_closed_contours(scan, tmp_path):
    _, first = scan
    rois = {"liver": [circle((0, -8), 3, 30.0)], "isocentre": [np.zeros((1, 3))], "empty": []}
    path = make_structure_set(tmp_path / "rs.dcm", first, rois)
    assert dicom_labels.names(path) == ["liver"]
    assert dicom_labels.reference(path).series == (first.SeriesInstanceUID,)
    empty = make_structure_set(tmp_path / "empty.dcm", first, {"point": [np.zeros((1, 3))]})
    with pytest.raises(UserError, match="at least one structure; found no closed contour"):
        dicom_labels.names(empty)


def test_an_image_is_no_label_and_a_label_no_image(series, tmp_path):
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    with pytest.raises(UserError, match="expected DICOM slices; found segmentation"):
        volumes.read(path)
    with pytest.raises(UserError, match="found a slice of an image"):
        volumes.read_labels(next(series.iterdir()), on=dicom.read_grid(series))
    with pytest.raises(UserError, match="found no such file"):
        volumes.read_labels(tmp_path / "none.dcm", on=dicom.read_grid(series))
