"""Two folders: what is paired, what is passed over and why, and files that could be taken for another case's."""

import os
import unicodedata

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.data.store.prepare import read_pair
from segfocal.errors import UserError
from segfocal.io.passed_over import Reason
from tests.pictures import make_png
from tests.scans import make_scan


def small(path, value=1):
    """Write a scan; nibabel knows small endings only."""
    ending = ".nii" if path.name.lower().endswith(".nii") else ".nii.gz"
    return make_scan(path.with_name(f"new{ending}"), np.full((3, 4, 5), value, np.uint8)).rename(path)


def pairs(root, *names):
    for name in names:
        small(root / "images" / f"{name}.nii.gz")
        small(root / "labels" / f"{name}.nii.gz")
    return root


def passed(root):
    return {one.path.name: one.reason for one in read_cases(root).passed_over}


def test_everything_that_belongs_to_no_case_has_its_reason(tmp_path):
    root = pairs(tmp_path, "x")
    small(root / "labels" / "y.nii.gz")
    small(root / "labels" / "x_seg.nii.gz")
    small(root / "labels" / "z" / "liver.nii.gz")
    small(root / "labels" / "x" / "liver.nii.gz")
    small(root / "images" / "deep" / "q.nii.gz")
    small(root / "loose.nii.gz")
    make_png(root / "images" / "x.png", np.zeros((3, 4), np.uint8))
    (root / "images" / "old.nrrd").touch()
    assert [case.name for case in read_cases(root).cases] == ["x"]
    assert passed(root) == {
        "y.nii.gz": Reason.LABEL_WITHOUT_IMAGE,
        "x_seg.nii.gz": Reason.SECOND_LABEL,
        "z": Reason.LABEL_WITHOUT_IMAGE,
        "x": Reason.SECOND_LABEL,
        "deep": Reason.OUTSIDE,
        "loose.nii.gz": Reason.OUTSIDE,
        "x.png": Reason.PREVIEW,
        "old.nrrd": Reason.OTHER_FORMAT,
    }


def test_where_all_is_read_nothing_is_passed_over(tmp_path):
    root = pairs(tmp_path, "x", "y")
    (root / "notes.txt").touch()
    (root / "images" / ".x.nii.gz").touch()
    assert passed(root) == {}


@pytest.mark.parametrize("ending", [".NII.GZ", ".Nii.gz", ".NII"])
@pytest.mark.parametrize("folder", ["images", "labels"])
def test_an_ending_may_be_written_in_any_letters(tmp_path, folder, ending):
    root = pairs(tmp_path, "x", "y")
    (root / folder / "y.nii.gz").unlink()
    small(root / folder / f"y{ending}", value=7)
    image, labels = read_pair(read_cases(root).cases[1])
    assert (image.array.max(), labels.array.max()) == ((7, 1) if folder == "images" else (1, 7))


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_accents_may_be_written_either_way(tmp_path, folder):
    root = pairs(tmp_path, "é", "x")
    path = root / folder / "é.nii.gz"
    path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    found = read_cases(root)
    assert ([case.name for case in found.cases], found.passed_over) == (["x", "é"], ())


def test_one_name_in_two_writings_is_two_cases_of_one_name(tmp_path):
    root = pairs(tmp_path, "é", unicodedata.normalize("NFD", "é"))
    with pytest.raises(UserError, match="one label a case"):
        read_cases(root)
    for path in (root / "labels").iterdir():
        if path.name != "é.nii.gz":
            path.unlink()
    with pytest.raises(UserError, match="one case a name"):
        read_cases(root)


@pytest.mark.parametrize("other", ["x.nii", "x.NII.GZ"])
def test_two_labels_of_one_name_are_refused(tmp_path, other):
    root = pairs(tmp_path, "x")
    small(root / "labels" / other)
    with pytest.raises(UserError, match=rf"one label a case; found (x\.nii\.gz and )?{other}.* in .*labels"):
        read_cases(root)


@pytest.mark.parametrize("names", [("x_liver.nii", "x_liver.nii.gz"), ("x/liver.nii", "x/liver.nii.gz")])
def test_two_masks_of_one_structure_are_refused(tmp_path, names):
    root = pairs(tmp_path, "x")
    (root / "labels" / "x.nii.gz").unlink()
    for name in names:
        (root / "labels" / name).parent.mkdir(exist_ok=True)
        small(root / "labels" / name)
    with pytest.raises(UserError, match=r"(a mask file a structure|one label a case); found x?_?liver\.nii and"):
        read_cases(root)


def test_numbers_that_labels_have_too_are_no_channels(tmp_path):
    """As in WORD: without its label word_0003 was taken for a channel of a case called word."""
    root = pairs(tmp_path, "word_0000", "word_0001")
    small(root / "images" / "word_0003.nii.gz")
    with pytest.raises(UserError, match=r"the label of case word_0003; found no such file: .*word_0003\.nii\.gz"):
        read_cases(root)


@pytest.mark.parametrize("ending", [".nii.gz", ".png"])
def test_a_case_whose_first_channel_is_missing_is_named(tmp_path, ending):
    for name in ("a_0000", "a_0001", "b_0001", "b_0002"):
        path = tmp_path / "images" / f"{name}{ending}"
        make_png(path, np.ones((3, 4), np.uint8)) if ending == ".png" else small(path)
    for name in ("a", "b"):
        path = tmp_path / "labels" / f"{name}{ending}"
        make_png(path, np.ones((3, 4), np.uint8)) if ending == ".png" else small(path)
    with pytest.raises(UserError, match=r"0001, 0002 of b: 0000 is missing in .*images"):
        read_cases(tmp_path)


def test_a_link_that_leads_nowhere_or_to_itself_is_told(tmp_path):
    root = pairs(tmp_path, "x", "y")
    (root / "images" / "y.nii.gz").unlink()
    os.symlink("y.nii.gz", root / "images" / "y.nii.gz")
    with pytest.raises(UserError, match="the image of case y; found no such file"):
        read_cases(root)
