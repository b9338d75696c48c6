"""Which scans an input names: a folder, a pattern, a list; channels and DICOM series are one scan."""

import os
import unicodedata

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.io.passed_over import Reason
from segfocal.predict.inputs import channels_apart, find_scans, names_many, passed_over
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


def small(path):
    new = path.with_name("new.nii" if path.name.lower().endswith(".nii") else "new.nii.gz")
    return make_scan(new, np.zeros((3, 4, 5), np.int16)).rename(path)


def test_an_ending_in_other_letters_is_a_scan_and_its_mask_has_the_usual_one(tmp_path):
    for name in ("a.NII.GZ", "b.Nii"):
        small(tmp_path / name)
    assert [(scan.name, scan.path.name) for scan in find_scans(tmp_path)] == [
        ("a.nii.gz", "a.NII.GZ"),
        ("b.nii", "b.Nii"),
    ]
    small(tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match=r"would both be a\.nii\.gz"):
        find_scans(tmp_path)


@pytest.mark.parametrize("pattern", ["", "**/*.nii.gz"])
def test_linked_folders_are_reached_and_a_circle_of_links_gives_each_scan_once(tmp_path, pattern):
    for name in ("scans/a.nii.gz", "scans/below/b.nii.gz", "away/c.nii.gz"):
        small(tmp_path / name)
    os.symlink(tmp_path / "away", tmp_path / "scans" / "link")
    os.symlink("..", tmp_path / "scans" / "below" / "up")
    found = find_scans(tmp_path / "scans" / pattern)
    assert [scan.name for scan in found] == ["a.nii.gz", "below/b.nii.gz", "link/c.nii.gz"]
    assert find_scans(tmp_path / "scans", output=tmp_path / "scans" / "below")[0].name == "a.nii.gz"


def test_what_is_no_scan_below_a_folder_is_named_but_outputs_are_not(tmp_path):
    for name in ("scans/a.nii.gz", "scans/masks/a.nii.gz"):
        small(tmp_path / name)
    for name in ("b.mha", "below/c.npz", "masks/d.mha", "notes.txt"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.symlink("self", tmp_path / "scans" / "self")
    os.symlink(".", tmp_path / "scans" / "loop")
    folder, masks = tmp_path / "scans", tmp_path / "scans" / "masks"
    found = passed_over(folder, find_scans(folder, output=masks), output=masks)
    assert [(one.path.name, one.reason) for one in found] == [
        ("b.mha", Reason.OTHER_FORMAT),
        ("c.npz", Reason.OTHER_FORMAT),
        ("loop", Reason.LINK_AGAIN),
    ]
    assert passed_over(folder / "*.nii.gz", [], output=masks) == []


def test_the_channels_that_a_scan_lacks_are_told(tmp_path):
    for name in ("x_0001.nii.gz", "x_0002.nii.gz", "y_0000.NII.GZ", "y_0001.nii.gz"):
        small(tmp_path / name)
    first, second = find_scans(tmp_path, channels=2)
    assert (first.name, first.missing) == ("x.nii.gz", (0,))
    with pytest.raises(UserError, match=r"expected channel 0000 of x\.nii\.gz; found x_0001\.nii\.gz"):
        first.check_complete()
    assert (second.name, second.missing, len(second.files)) == ("y.nii.gz", (), 2)
    second.check_complete()


def test_files_that_look_like_channels_are_noted_for_a_bundle_of_one(tmp_path):
    for name in ("word_0000.nii.gz", "word_0001.nii.gz"):
        small(tmp_path / name)
    assert channels_apart(find_scans(tmp_path)) == ""  # one name: they count scans
    for name in ("x_0000.nii.gz", "x_0001.nii.gz"):
        small(tmp_path / name)
    assert "word_0000.nii.gz and word_0001.nii.gz" in channels_apart(find_scans(tmp_path))


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_a_list_may_begin_with_a_mark_and_write_names_another_way(tmp_path, ending):
    small(tmp_path / unicodedata.normalize("NFD", "é.nii"))
    text = "é.nii\n" if ending == "txt" else "image\né.nii\n"
    (tmp_path / f"list.{ending}").write_text(text, encoding="utf-8-sig")
    (scan,) = find_scans(tmp_path / f"list.{ending}")
    assert scan.path.is_file()


@pytest.mark.parametrize(("name", "text"), [("list.txt", "a\0.nii\n"), ("list.csv", "image\na\0.nii\n")])
def test_a_nul_in_a_listed_name_is_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"found a NUL in .* in .*{name}"):
        find_scans(tmp_path / name)
