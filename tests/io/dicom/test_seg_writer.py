"""DICOM segmentations out: they refer to their slices, copy the named headers only, and are read back."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom import labels as dicom_labels  # noqa: E402
from tests.dicom import make_series  # noqa: E402
from tests.io.dicom.drawn_labels import VALUES, label_map, write_seg  # noqa: E402


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
