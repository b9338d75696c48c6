"""Checks of a header: each fault of a file is named before a voxel is read, and oddities are notes."""

import numpy as np
import pytest

from segfocal.doctor.checks import Check
from segfocal.doctor.header_checks import header_findings
from segfocal.errors import UserError
from segfocal.io import nifti
from tests.broken_data import AFFINE, KINDS, make_case
from tests.scans import affine_of, make_scan, spoil_header

OF_FILES_AND_HEADERS = {
    "no_bytes": {Check.EMPTY_FILE},
    "garbage": {Check.NO_NIFTI},
    "cut_in_the_header": {Check.NO_NIFTI},
    "bad_magic": {Check.NO_NIFTI},
    "cut_short": {Check.DAMAGED},
    "negative_sizes": {Check.DAMAGED},
    "not_packed": {Check.NOT_PACKED},
    "colours": {Check.VOXEL_TYPE},
    "four_axes": {Check.SEVERAL_VOLUMES},
    "two_axes": {Check.NOT_3D},
    "axis_of_nothing": {Check.EMPTY_VOLUME},
    "singular_affine": {Check.NO_PLACE},
    "absurd_spacing": {Check.ABSURD_SPACING},
    "metres": {Check.WRONG_UNIT},
    "forms_that_disagree": {Check.FORMS_DISAGREE},
    "no_orientation": {Check.NO_ORIENTATION},
    "oblique_and_big_endian": {Check.OBLIQUE, Check.BYTE_ORDER},
}


def checks(path):
    return {one.check for one in header_findings(path, "a")}


@pytest.mark.parametrize("kind", OF_FILES_AND_HEADERS)
def test_each_fault_is_found_by_the_header_alone(tmp_path, kind):
    image, label = make_case(tmp_path, "a", 0, packed=KINDS[kind].packed)
    assert checks(image) == set()
    KINDS[kind].spoil(image, label)
    assert OF_FILES_AND_HEADERS[kind] <= checks(image)
    assert all(one.case == "a" and one.file == image for one in header_findings(image, "a"))


def test_a_file_that_is_missing_is_one_finding(tmp_path):
    assert checks(tmp_path / "a.nii") == {Check.MISSING_FILE}


def test_one_slice_and_another_unit_are_notes(tmp_path):
    path = make_scan(tmp_path / "a.nii", np.zeros((5, 4, 1), np.uint8), AFFINE)
    spoil_header(path, xyzt_units=0)
    found = header_findings(path, "a")
    assert {(one.check, one.severity) for one in found} == {(Check.ONE_SLICE, "note"), (Check.UNIT, "note")}


@pytest.mark.parametrize(("degrees", "oblique"), [(4.0, False), (6.0, True)])
def test_axes_five_degrees_off_the_body_are_oblique(tmp_path, degrees, oblique):
    affine = affine_of(spacing_mm=(1.0, 2.0, 3.0), degrees=(degrees, 0, 0))
    path = make_scan(tmp_path / "a.nii", np.zeros((5, 4, 3), np.uint8), affine)
    assert (Check.OBLIQUE in checks(path)) is oblique


SPACES = {  # fields, codes of sform and qform, and what is found beside what a sound header has
    "metres": ({"xyzt_units": 1}, (1, 1), {Check.WRONG_UNIT, Check.ABSURD_SPACING}),
    "microns": ({"xyzt_units": 3}, (1, 0), {Check.WRONG_UNIT, Check.ABSURD_SPACING}),
    "qform alone, spacing 0": ({"pixdim": (1, 0, 2, 3, 0, 0, 0, 0)}, (0, 1), {Check.NO_PLACE}),
    "no form, spacing 0": ({"pixdim": (1, 1, 0, 3, 0, 0, 0, 0)}, (0, 0), {Check.NO_PLACE}),
    "spacing below 0": ({"pixdim": (1, -1, 2, 3, 0, 0, 0, 0)}, (0, 1), {Check.PIXDIM}),
    "qfac of -2.5": ({"pixdim": (-2.5, 1, 2, 3, 0, 0, 0, 0)}, (0, 1), {Check.FORMS_DISAGREE}),
    "qform of NaN": ({"quatern_b": np.nan}, (1, 1), {Check.FORMS_DISAGREE}),
    "offset of NaN": ({"qoffset_y": np.nan}, (1, 1), {Check.FORMS_DISAGREE}),
    "quaternion slightly long": ({"quatern_b": 1.0005}, (0, 1), set()),
    "sform of NaN": ({"srow_y": (0, np.nan, 0, 0)}, (1, 1), {Check.NO_PLACE}),
}


@pytest.mark.parametrize("name", SPACES)
def test_space_is_judged_by_the_rule_of_the_reader(tmp_path, name):
    fields, (sform, qform), expected = SPACES[name]
    affine = affine_of(spacing_mm=(1.0, 2.0, 3.0), origin_mm=(0, 0, 0))
    path = make_scan(tmp_path / "a.nii", np.zeros((5, 4, 3), np.uint8), affine, sform_code=sform, qform_code=qform)
    before = checks(path)
    spoil_header(path, **fields)
    assert checks(path) - before == expected
    if Check.NO_PLACE in expected:
        with pytest.raises(UserError, match="its own place"):
            nifti.read_grid(path)
    else:
        assert nifti.read_grid(path).shape == (5, 4, 3)


def test_a_sheared_scan_is_a_note_with_its_angle(tmp_path):
    sheared = np.diag([1.0, 1.0, 5.0, 1.0])
    sheared[1, 2] = 5.0 * np.tan(np.radians(10))
    path = make_scan(tmp_path / "a.nii", np.zeros((5, 4, 3), np.uint8), sheared, qform_code=0)
    (found,) = [one for one in header_findings(path, "a") if one.check is Check.SHEARED]
    assert (found.severity, found.found) == ("note", "axes at 80°")
