"""Patients with DICOM slices and a label of any kind are the cases that NIfTI would make."""

import shutil

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from pydicom.uid import generate_uid  # noqa: E402

from segfocal.data.cases import read_cases  # noqa: E402
from segfocal.data.store.prepare import check_pairs, prepare, read_pair  # noqa: E402
from segfocal.data.store.prepared_case import Preparation  # noqa: E402
from segfocal.doctor.case_report import examine  # noqa: E402
from segfocal.errors import UserError  # noqa: E402
from segfocal.grid import Volume  # noqa: E402
from segfocal.intensity import Window  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.resample import ModelGrid  # noqa: E402
from segfocal.structure import Structure  # noqa: E402
from tests import DEMO  # noqa: E402
from tests.dicom import make_series, make_structure_set, stored_values  # noqa: E402
from tests.scans import make_scan  # noqa: E402

SHAPE = (40, 30, 5)
VALUES = {"liver": 1, "spleen": 2}


def truth():
    """Return labels whose boxes' borders lie between voxels, so that contours and masks say the same."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:20, 6:25, 1:4], labels[25:33, 10:18, 2:5] = 1, 2
    return labels


def write_label(folder, kind, series):
    grid, labels = dicom.read_grid(series), truth()
    if kind == "nifti":  # in the axes that another converter chose
        turned = Volume(array=labels, grid=grid).oriented("RAS")
        return make_scan(folder / "label.nii.gz", turned.array, turned.grid.affine)
    if kind == "seg":
        names = {2: "spleen", 1: "liver"}  # numbered the other way round
        volumes.write(folder / "seg.dcm", Volume(array=labels, grid=grid), like=series, names=names)
        return folder / "seg.dcm"
    first = pydicom.dcmread(next(series.iterdir()))
    rois = {name: contours(labels == value, grid) for name, value in reversed(VALUES.items())}
    return make_structure_set(folder / "RS.1.2.3", first, rois)


def contours(inside, grid):
    """Return the outline, LPS, of a box on each of its slices, half a voxel around it."""
    found = []
    for z in np.flatnonzero(inside.any((0, 1))):
        (x0, x1), (y0, y1) = ((np.flatnonzero(inside[:, :, z].any(axis))[[0, -1]]) for axis in (1, 0))
        corners = np.array([[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5], [x0 - 0.5, y1 + 0.5]])
        index = np.c_[corners, np.full(4, z)]
        found.append((index @ grid.affine[:3, :3].T + grid.affine[:3, 3]) * [-1, -1, 1])
    return found


def make_patients(root, *kinds):
    for number, kind in enumerate(kinds):
        series = make_series(root / f"p{number}" / "study" / "CT", stored_values(SHAPE, seed=number))
        write_label(root / f"p{number}", kind, series)
    return root


@pytest.mark.parametrize("kind", ["nifti", "seg", "rtstruct"])
def test_patients_are_cases_with_the_labels_of_their_scans(kind, tmp_path):
    root = make_patients(tmp_path / "data", kind, kind)
    cases = read_cases(root, label_names={1: "liver", 2: "spleen"} if kind == "nifti" else None)
    assert [case.name for case in cases.cases] == ["p0", "p1"]
    assert cases.label_values == VALUES
    check_pairs(cases.cases)
    for number, case in enumerate(cases.cases):
        image, labels = read_pair(case)
        np.testing.assert_array_equal(image.array, stored_values(SHAPE, seed=number) - 1024)
        np.testing.assert_array_equal(labels.array, truth())
        assert image.grid.difference(labels.grid) is None


def test_the_doctor_reads_series_and_the_labels_drawn_on_them(tmp_path):
    root = make_patients(tmp_path / "data", "seg", "rtstruct")
    for case in read_cases(root).cases:
        found = examine(case, names=VALUES)
        assert [one.check for one in found.findings if one.severity == "error"] == []
        assert found.voxels == dict(enumerate(np.bincount(truth().ravel())))


def test_the_doctor_counts_contours_that_enclose_nothing(tmp_path):
    root = make_patients(tmp_path / "data", "rtstruct")
    first = pydicom.dcmread(next((root / "p0/study/CT").iterdir()))
    box = contours(truth() == 1, dicom.read_grid(root / "p0/study/CT"))
    make_structure_set(root / "p0" / "RS.1.2.3", first, {"liver": [*box, box[0][:2], box[0][:2]]})
    (case,) = read_cases(root).cases
    (found,) = [one for one in examine(case, names={"liver": 1}).findings if one.check == "contours"]
    assert (found.severity, found.file) == ("warning", root / "p0" / "RS.1.2.3")
    assert "2 contours of ROI number 11 are passed over" in found.found
    assert "2 of fewer than three points" in found.found


def test_given_names_choose_the_values_and_leave_others_out(tmp_path):
    root = make_patients(tmp_path / "data", "seg", "rtstruct", "nifti")
    with pytest.raises(UserError, match=r"2 DICOM labels among 3.*label_names"):
        read_cases(root)
    cases = read_cases(root, label_names={1: "liver"})
    for case in cases.cases[:2]:
        np.testing.assert_array_equal(read_pair(case)[1].array, truth() == 1)
    np.testing.assert_array_equal(read_pair(cases.cases[2])[1].array, truth())


def test_a_csv_names_a_series_and_a_dicom_label(tmp_path):
    root = make_patients(tmp_path / "data", "seg")
    (tmp_path / "cases.csv").write_text("name,image,label,split\none,data/p0/study/CT,data/p0/seg.dcm,val\n")
    (case,) = read_cases(tmp_path / "cases.csv").cases
    assert (case.name, case.split, case.image) == ("one", "val", root / "p0/study/CT")
    np.testing.assert_array_equal(read_pair(case)[1].array, truth())
    (tmp_path / "cases.csv").write_text("image,label\ndata/p0/none,data/p0/seg.dcm\n")
    with pytest.raises(UserError, match="the image of case none; found no such file"):
        read_cases(tmp_path / "cases.csv")


def preparation(**changes):
    structures = tuple(Structure(name=name, value=value) for name, value in VALUES.items())
    facts = {"grid": ModelGrid(), "intensity": Window(lower=-1024, upper=1000), "structures": structures}
    return Preparation(**(facts | changes))


def test_prepared_slices_follow_every_file_of_a_series(tmp_path):
    root = make_patients(tmp_path / "data", "seg")
    cases = read_cases(root).cases
    (first,) = prepare(cases, preparation(), tmp_path / "cache")
    assert first.shape == (5, 30, 40)
    np.testing.assert_array_equal(first.pixels.sum(1), [(truth() == 1).sum(), (truth() == 2).sum()])
    (again,) = prepare(cases, preparation(), tmp_path / "cache")
    assert again.folder == first.folder
    slices = sorted((root / "p0/study/CT").iterdir())
    slices[3].touch()
    (changed,) = prepare(cases, preparation(), tmp_path / "cache")
    assert changed.folder != first.folder
    (renamed,) = prepare(read_cases(root, label_names={1: "spleen"}).cases, preparation(), tmp_path / "cache")
    assert renamed.folder != changed.folder


def test_of_several_series_the_label_says_which(tmp_path):
    root = make_patients(tmp_path / "data", "seg", "nifti")
    for patient in ("p0", "p1"):
        make_series(root / patient / "study" / "MR", stored_values(SHAPE))
    with pytest.raises(UserError, match=r"one DICOM series a patient.*found study/CT, study/MR in .*p1"):
        read_cases(root, label_names={1: "liver"})
    shutil.rmtree(root / "p1")
    assert [case.image for case in read_cases(root).cases] == [root / "p0/study/CT"]
    # and where both lie in one folder
    for file in (root / "p0/study/MR").iterdir():
        file.rename(root / "p0/study/CT" / f"mr_{file.name}")
    (case,) = read_cases(root).cases
    assert case.image.name.startswith("CT@")
    np.testing.assert_array_equal(read_pair(case)[0].array, stored_values(SHAPE, seed=0) - 1024)


def test_a_patient_needs_one_label(tmp_path):
    root = make_patients(tmp_path / "data", "seg")
    series = root / "p0/study/CT"
    write_label(root / "p0", "nifti", series)
    with pytest.raises(UserError, match=r"one label a patient.*found label\.nii\.gz, seg\.dcm in .*p0"):
        read_cases(root)
    for file in (root / "p0").glob("*.*"):
        file.unlink()
    with pytest.raises(UserError, match=r"one label a patient.*found none in .*p0"):
        read_cases(root)


def test_a_label_of_another_frame_of_reference_is_refused(tmp_path):
    root = make_patients(tmp_path / "data", "seg")
    first = pydicom.dcmread(next((root / "p0/study/CT").iterdir()))
    (root / "p0" / "seg.dcm").unlink()
    box = contours(truth() == 1, dicom.read_grid(root / "p0/study/CT"))
    make_structure_set(root / "p0" / "rs.dcm", first, {"liver": box}, frame_of_reference=generate_uid())
    with pytest.raises(UserError, match="a label in the frame of reference of its series"):
        check_pairs(read_cases(root).cases)


def test_ct_b_in_dicom_prepares_as_its_nifti(tmp_path):
    rows = "name,image,label\na,{0}/ct_b_image.nii.gz,{0}/ct_b_label.nii.gz\nb,{0}/ct_b_dicom,{0}/ct_b_label.nii.gz\n"
    (tmp_path / "cases.csv").write_text(rows.format(DEMO))
    cases = read_cases(tmp_path / "cases.csv")
    check_pairs(cases.cases)
    settings = preparation(structures=(Structure(name="liver", value=5),), grid=ModelGrid(spacing_mm=(4.0, 4.0)))
    of_nifti, of_dicom = prepare(cases.cases, settings, tmp_path / "cache")
    for index in (0, 7, 19):
        for one, other in zip(of_nifti.slice(index), of_dicom.slice(index), strict=True):
            np.testing.assert_array_equal(one, other)


def patients(root, *names):
    for name in names:
        series = make_series(root / name / "CT", stored_values(SHAPE))
        write_label(root / name, "nifti", series)
    return root


def test_circles_and_links_of_folders_end_and_a_label_may_end_in_other_letters(tmp_path):
    root = patients(tmp_path / "data", "a", "b")
    (root / "a" / "label.nii.gz").rename(root / "a" / "label.NII.GZ")
    (root / "a" / "up").symlink_to("..")
    (root / "b").rename(tmp_path / "away")
    (root / "b").symlink_to(tmp_path / "away")
    make_scan(root / "loose.nii", np.zeros((2, 2, 2), np.uint8))
    found = read_cases(root)
    assert [case.name for case in found.cases] == ["a", "b"]
    assert [(one.path.name, one.reason.value) for one in found.passed_over] == [("loose.nii", "outside")]


def test_series_of_a_list_that_change_places_are_refused(tmp_path):
    rows = ["image,label"]
    for patient, order in (("p1", ("T1", "T2")), ("p2", ("T2", "T1"))):
        for name in order:
            series = make_series(tmp_path / patient / name, stored_values(SHAPE))
        write_label(tmp_path / patient, "nifti", series)
        rows.append(f"{patient}/{order[0]};{patient}/{order[1]},{patient}/label.nii.gz")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"the channels t1, t2 of every case, in this order; found t2, t1"):
        read_cases(tmp_path / "list.csv")
