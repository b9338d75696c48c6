"""DICOM files are known by their content; others are passed over by name, or refused."""

import shutil

import pytest

pydicom = pytest.importorskip("pydicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from tests import DEMO  # noqa: E402
from tests.dicom import make_series, stored_values  # noqa: E402


def test_files_that_say_they_are_no_slices_are_passed_over(tmp_path):
    folder = make_series(tmp_path / "s")
    (folder / "README.txt").write_text("notes")
    (folder / ".DS_Store").write_bytes(b"x")
    assert dicom.read(folder).array.shape == (9, 7, 5)


def test_damaged_files_are_one_clear_line(tmp_path):
    folder = make_series(tmp_path / "s")
    file = sorted(folder.iterdir())[2]
    whole = file.read_bytes()
    for size in (0, 100, 140, 300, 700, len(whole) - 30):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match="slice002") as caught:
            volumes.read(folder)
        assert "\n" not in str(caught.value)


def test_a_folder_of_nothing_is_no_series(tmp_path):
    (tmp_path / "s").mkdir()
    with pytest.raises(UserError, match="a folder without DICOM slices"):
        volumes.read(tmp_path / "s")
    with pytest.raises(UserError, match="found nothing there"):
        volumes.read(tmp_path / "no.dcm")


def test_missing_extra_is_one_clear_line(tmp_path, monkeypatch):
    folder = make_series(tmp_path / "s")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(UserError, match=r"found no module pydicom\. Install it: pip install 'segfocal\[dicom\]'"):
        volumes.read(folder)


def test_a_folder_is_a_series_unless_volumes_outnumber_its_slices(tmp_path):
    folder = make_series(tmp_path / "s", stored_values((9, 7, 2)))
    assert volumes.is_dicom(folder)
    shutil.copy(DEMO / "mr_d_image.nii.gz", folder / "mask.nii.gz")
    assert volumes.read(folder).array.shape == (9, 7, 2)
    shutil.copy(DEMO / "mr_d_image.nii.gz", folder / "other.nii.gz")
    assert not volumes.is_dicom(folder)
