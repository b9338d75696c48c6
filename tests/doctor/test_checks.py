"""The doctor on sound data: real scans, pictures and regions raise no alarm; twins are found by their voxels."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from segfocal.cli.app import demo_data
from segfocal.doctor.case_list import check_case_list
from segfocal.doctor.case_report import examine
from segfocal.doctor.dataset_checks import dataset_findings
from segfocal.doctor.image_checks import fingerprint, intensities
from segfocal.doctor.label_checks import grid_findings
from segfocal.grid import Grid
from segfocal.report.thumbnail import thumbnail
from tests.broken_data import AFFINE, make_case
from tests.pictures import make_png, make_sam_med2d


def alarms(findings):
    return [(one.check, one.case, one.found) for one in findings if one.severity != "note"]


def test_the_demo_scans_raise_no_alarm():
    listing = check_case_list(f"{demo_data()}/cases.csv", label_names=f"{demo_data()}/label_names.json#ct")
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="ct")) == []
    assert listing.findings == []


def test_pictures_with_masks_raise_no_alarm(tmp_path):
    listing = check_case_list(make_sam_med2d(tmp_path))
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="")) == []


def test_a_damaged_picture_is_named(tmp_path):
    make_png(tmp_path / "images" / "a.png", np.zeros((5, 4), np.uint8)).write_bytes(b"no picture")
    make_png(tmp_path / "labels" / "a.png", np.eye(5, 4, dtype=np.uint8))
    (case,) = check_case_list(tmp_path).cases
    assert [one.check for one in examine(case, names={}).findings if one.severity == "error"] == ["unreadable"]


def test_regions_and_the_value_to_ignore_are_known_values(tmp_path):
    make_case(tmp_path, "a", 0)
    (tmp_path / "images").rename(tmp_path / "imagesTr")
    (tmp_path / "labels").rename(tmp_path / "labelsTr")
    labels = {"background": 0, "one": 1, "whole": [1, 2, 3], "ignore": 9}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert sorted(check_case_list(tmp_path).allowed.values()) == [1, 2, 3, 9]


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_a_hash_is_that_of_the_values(dtype):
    array = np.random.default_rng(0).integers(-1000, 1000, (5, 4, 33)).astype(np.int16)
    assert fingerprint(array.astype(dtype)) == fingerprint(array)
    assert fingerprint(array.astype(dtype, order="F")) == fingerprint(array)
    assert fingerprint(array + 1) != fingerprint(array)
    assert fingerprint(array.reshape(4, 5, 33)) != fingerprint(array)


def test_scales_are_told_apart():
    rng = np.random.default_rng(0)
    hounsfield = np.where(rng.random((20, 20, 20)) < 0.5, -1000, rng.normal(40, 30, (20, 20, 20))).round()
    hounsfield.flat[0] = 1500
    assert not intensities(hounsfield).air_at_zero
    assert not intensities(hounsfield).normalised
    assert intensities(hounsfield + 1000).air_at_zero
    assert intensities((hounsfield + 1000) / 2500).normalised
    assert intensities((hounsfield - hounsfield.mean()) / hounsfield.std()).normalised
    eight_bit = rng.integers(0, 256, (9, 9, 9))
    assert not intensities(eight_bit).normalised
    assert not intensities(eight_bit).air_at_zero


def test_each_way_in_which_grids_differ_is_named_by_itself():
    image = Grid(shape=(20, 18, 9), affine=AFFINE)
    middle = AFFINE @ [9.5, 8.5, 4.0, 1.0]

    def centred(linear):
        """Return an affine of another linear part about the same middle."""
        affine = np.eye(4)
        affine[:3, :3] = linear
        affine[:3, 3] = middle[:3] - linear @ [9.5, 8.5, 4.0]
        return affine

    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    moved = AFFINE.copy()
    moved[0, 3] += 5.0

    def checks(label):
        return [check for check, _ in grid_findings(image, label)]

    assert checks(image) == []
    assert checks(Grid(shape=image.shape, affine=centred(AFFINE[:3, :3] @ np.diag([1.2, 1, 1])))) == ["grid_spacing"]
    assert checks(Grid(shape=image.shape, affine=centred(turn @ AFFINE[:3, :3]))) == ["grid_direction"]
    assert checks(Grid(shape=image.shape, affine=moved)) == ["grid_origin"]
    assert checks(replace(image, shape=(20, 18, 10)))[0] == "grid_shape"
    moved[0, 3] += 5000.0
    assert checks(Grid(shape=image.shape, affine=moved)) == ["apart"]


def test_a_thumbnail_has_the_shape_of_the_slice_and_outlines_in_colour():
    label = np.zeros((40, 30), np.int16)
    label[10:30, 10:20] = 5
    url = thumbnail(np.full((40, 30), 0.5, np.float32), label, aspect=2.0)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
    assert picture.shape == (192, 72, 3)
    coloured = (picture != picture[..., :1]).any(2)
    assert coloured.any()
    assert not coloured[:40].any()
    assert not coloured[96, 36]  # inside the outline
