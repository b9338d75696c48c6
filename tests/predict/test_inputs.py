"""Which scans an input names: a folder, a pattern, a list; channels and DICOM series are one scan."""

import os

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.predict.inputs import find_scans, names_many
from tests.scans import make_scan


@pytest.fixture
def folder(tmp_path):
    for name in ("b/ct.nii.gz", "a/ct.nii.gz", "a/.hidden.nii.gz", "masks/a/ct.nii.gz"):
        make_scan(tmp_path / name, np.zeros((3, 4, 5), np.int16))
    (tmp_path / "notes.txt").write_text("a/ct.nii.gz\n\nb/ct.nii.gz\n")
    (tmp_path / "scans.csv").write_text("name,image\none,b/ct.nii.gz\n")
    return tmp_path


def test_a_folder_names_what_is_below_it_but_for_hidden_files_and_outputs(folder):
    found = find_scans(folder, output=folder / "masks")
    assert [(scan.name, scan.path) for scan in found] == [
        ("a/ct.nii.gz", folder / "a/ct.nii.gz"),
        ("b/ct.nii.gz", folder / "b/ct.nii.gz"),
    ]


def test_patterns_and_lists_name_scans(folder):
    assert [scan.path.parent.name for scan in find_scans(folder / "[ab]" / "*.gz")] == ["a", "b"]
    assert [scan.path.parent.name for scan in find_scans(folder / "notes.txt")] == ["a", "b"]
    assert [scan.path.parent.name for scan in find_scans(folder / "scans.csv")] == ["b"]


def test_files_of_several_channels_are_one_scan(tmp_path):
    for name in ("x_0000.nii.gz", "x_0001.nii.gz", "y_0000.nii.gz", "y_0002.nii.gz"):
        make_scan(tmp_path / name, np.zeros((3, 4, 5), np.int16))
    first, second = find_scans(tmp_path, channels=2)
    assert (first.name, [file.name for file in first.files]) == ("x.nii.gz", ["x_0000.nii.gz", "x_0001.nii.gz"])
    assert (second.name, [file.name for file in second.files]) == ("y.nii.gz", ["y_0000.nii.gz"])  # up to the gap


def test_two_files_for_one_channel_are_refused(tmp_path):
    for name in ("x_0000.nii.gz", "x_0001.nii.gz", "x.nii.gz"):
        make_scan(tmp_path / name, np.zeros((3, 4, 5), np.int16))
    with pytest.raises(UserError, match=r"x.nii.gz and x_0000.nii.gz for channel 0 of x.nii.gz"):
        find_scans(tmp_path, channels=2)


def test_a_list_that_goes_upwards_names_scans_below_their_common_folder(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text("local/a.nii.gz\n../scans/b.nii.gz\n")
    names = [scan.name for scan in find_scans(tmp_path / "lists" / "list.txt")]
    assert names == ["lists/local/a.nii.gz", "scans/b.nii.gz"]


def test_a_place_of_many_is_a_folder_a_pattern_or_a_list(folder):
    assert all(names_many(folder / name) for name in (".", "*/ct.nii.gz", "notes.txt", "scans.csv"))
    assert not names_many(folder / "a" / "ct.nii.gz")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("list.txt", "a.nii.gz\na.nii.gz\n", "a.nii.gz more than once"),
        ("list.txt", "a.nii.gz\nb/../a.nii.gz\n", "a.nii.gz more than once"),
        ("list.txt", "\n", "found none"),
        ("list.csv", "path\na.nii.gz\n", "a CSV with the column image"),
    ],
)
def test_a_list_that_cannot_be_used_is_explained(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        find_scans(tmp_path / name)


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_a_list_that_is_no_file_is_refused_at_once(tmp_path, ending):
    os.mkfifo(tmp_path / f"pipe.{ending}")
    (tmp_path / f"zero.{ending}").symlink_to("/dev/zero")
    for name, found in (("pipe", "a pipe"), ("zero", "a device")):
        with pytest.raises(UserError, match=f"a list of scans; found {found} in"):
            find_scans(tmp_path / f"{name}.{ending}")
