"""A folder a case: a folder that is no case is counted and named, with what it lacks."""

import os

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from segfocal.io.passed_over import Reason
from tests.scans import make_scan


def small(path):
    new = path.with_name("new.nii" if path.name.lower().endswith(".nii") else "new.nii.gz")
    return make_scan(new, np.ones((3, 4, 5), np.uint8)).rename(path)


def brats(root, *cases, channels=("t1", "t2")):
    for case in cases:
        for name in (*channels, "seg"):
            small(root / case / f"{case}_{name}.nii.gz")
    return root


def read(root):
    found = read_cases(root)
    return [case.name for case in found.cases], {one.path.name: one.reason for one in found.passed_over}


def test_a_case_whose_label_is_named_otherwise_is_passed_over_by_name(tmp_path):
    root = brats(tmp_path, "a", "b", "c")
    (root / "b" / "b_seg.nii.gz").rename(root / "b" / "b_truth.nii.gz")
    assert read(root) == (["a", "c"], {"b": Reason.NO_LABEL})


def test_a_case_in_another_writing_of_the_ending_is_read(tmp_path):
    root = brats(tmp_path, "a", "b", "c")
    for path in (root / "b").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    assert read(root) == (["a", "b", "c"], {})


def test_every_kind_of_folder_that_is_no_case_has_its_reason(tmp_path):
    root = brats(tmp_path, "a", "two", "empty")
    small(root / "two" / "two_mask.nii.gz")
    for name in ("t1", "t2"):
        (root / "empty" / f"empty_{name}.nii.gz").unlink()
    small(root / "deep" / "scans" / "x.nii.gz")
    small(root / "loose.nii.gz")
    (root / "other").mkdir()
    (root / "other" / "x_t1.mha").touch()
    (root / "notes").mkdir()
    (root / "notes" / "read.txt").touch()
    assert read(root) == (
        ["a"],
        {
            "two": Reason.SEVERAL_LABELS,
            "empty": Reason.NO_IMAGE,
            "deep": Reason.OUTSIDE,
            "loose.nii.gz": Reason.OUTSIDE,
            "x_t1.mha": Reason.OTHER_FORMAT,
        },
    )


def test_an_empty_folder_of_masks_is_no_healthy_case(tmp_path):
    for case in ("a", "b"):
        small(tmp_path / case / "ct.nii.gz")
    small(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    (tmp_path / "b" / "segmentations").mkdir()
    assert read(tmp_path) == (["a"], {"b": Reason.NO_LABEL})


def test_two_masks_of_one_structure_are_refused(tmp_path):
    small(tmp_path / "a" / "ct.nii.gz")
    for ending in (".nii", ".nii.gz"):
        small(tmp_path / "a" / "segmentations" / f"liver{ending}")
    with pytest.raises(UserError, match=r"a mask file a structure; found liver\.nii and liver\.nii\.gz"):
        read_cases(tmp_path)


def test_linked_folders_are_cases_and_a_circle_of_links_is_none(tmp_path):
    brats(tmp_path / "away", "b")
    root = brats(tmp_path / "data", "a")
    os.symlink(tmp_path / "away" / "b", root / "b")
    os.symlink("..", root / "up")
    os.symlink("self", root / "self")
    assert read(root) == (["a", "b"], {"up": Reason.OUTSIDE})


@pytest.mark.parametrize("channels", [("t2",), ("flair", "t2"), ("t1",)])
def test_other_channels_than_the_others_have_are_refused(tmp_path, channels):
    root = brats(tmp_path, "a", "c")
    brats(root, "b", channels=channels)
    with pytest.raises(UserError, match=r"the channels t1, t2 of every case, as 2 of 3 have; found .* of b"):
        read_cases(root)


def test_a_single_image_of_another_kind_is_refused(tmp_path):
    root = brats(tmp_path, "a", "c", channels=("t1",))
    brats(root, "b", channels=("t2",))
    with pytest.raises(UserError, match=r"found t2 of b: t1 is missing in .*b"):
        read_cases(root)
