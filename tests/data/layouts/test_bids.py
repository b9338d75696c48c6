"""BIDS derivatives: images are found by their entities, and what is ambiguous is refused."""

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
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
