"""BIDS derivatives: images are found by their entities, and what is ambiguous is refused."""

import os

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from segfocal.io.passed_over import Reason
from tests.scans import make_scan


def small(path, value=1):
    return make_scan(path, np.full((3, 4, 5), value, np.uint8))


def test_bids_images_of_several_suffixes_are_channels_of_their_space(tmp_path):
    stem = "sub-1_space-MNI"
    folder = tmp_path / "derivatives" / "x" / "sub-1" / "anat"
    for name in ("T2w", "T1w", "desc-atlas_dseg"):
        small(folder / f"{stem}_{name}.nii.gz")
    small(tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    (case,) = read_cases(tmp_path / "derivatives" / "x").cases
    assert [path.name for path in case.images] == [f"{stem}_T1w.nii.gz", f"{stem}_T2w.nii.gz"]
    assert case.group == "sub-1"


def test_a_bids_segmentation_without_an_image_is_refused(tmp_path):
    small(tmp_path / "sub-1" / "anat" / "sub-1_dseg.nii.gz")
    with pytest.raises(UserError, match=r"an image sub-1_… for sub-1_dseg.*found none beside it"):
        read_cases(tmp_path)


def test_two_bids_label_maps_of_one_case_are_refused(tmp_path):
    for name in ("desc-a_dseg", "desc-b_dseg", "T1w"):
        small(tmp_path / "sub-1" / "anat" / f"sub-1_{name}.nii.gz")
    with pytest.raises(UserError, match=r"one dseg a case.*found sub-1_desc-a_dseg.nii.gz and sub-1_desc-b"):
        read_cases(tmp_path)


def subject(root, name, *suffixes):
    for suffix in suffixes:
        small(root / f"sub-{name}" / "anat" / f"sub-{name}_{suffix}.nii.gz")
    return root


@pytest.mark.parametrize(("first", "second"), [(("T1w", "T2w"), ("T2w", "FLAIR")), (("T1w",), ("T2w",))])
def test_another_channel_in_one_subject_is_refused(tmp_path, first, second):
    subject(tmp_path, "1", "dseg", *first)
    subject(tmp_path, "2", "dseg", *second)
    with pytest.raises(UserError, match=r"of sub-2: t1w is missing"):
        read_cases(tmp_path)


def test_what_belongs_to_no_case_is_named(tmp_path):
    subject(tmp_path, "1", "dseg", "T1w", "label-liver_mask")
    subject(tmp_path, "2", "T1w")
    found = read_cases(tmp_path)
    assert [case.name for case in found.cases] == ["sub-1"]
    assert {one.path.name: one.reason for one in found.passed_over} == {
        "sub-1_label-liver_mask.nii.gz": Reason.SECOND_LABEL,
        "sub-2_T1w.nii.gz": Reason.IMAGE_WITHOUT_LABEL,
    }


def test_linked_subjects_are_read_and_a_circle_of_links_ends(tmp_path):
    root = subject(tmp_path / "data", "1", "dseg", "T1w")
    subject(tmp_path / "away", "2", "dseg", "T1w")
    os.symlink(tmp_path / "away" / "sub-2", root / "sub-2")
    os.symlink("..", root / "sub-1" / "up")
    assert [case.name for case in read_cases(root).cases] == ["sub-1", "sub-2"]


def test_an_ending_may_be_written_in_any_letters(tmp_path):
    subject(tmp_path, "1", "dseg", "T1w")
    for path in (tmp_path / "sub-1" / "anat").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    assert len(read_cases(tmp_path).cases) == 1
