"""Checks of a header: each fault of a file is named before a voxel is read, and oddities are notes."""

import numpy as np
import pytest

from segfocal.doctor.checks import Check
from segfocal.doctor.header_checks import header_findings
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
