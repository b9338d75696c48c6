"""Where a header puts its voxels: the table of docs/geometry.md, each line with its value."""

import nibabel as nib
import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io import nifti
from tests.io.nifti.label_files import HEADER_MM, random_labels, written
from tests.scans import affine_of, make_scan, spoil_header

PLAIN = affine_of(spacing_mm=(1.0, 2.0, 3.0), origin_mm=(10.0, 20.0, 30.0))
OTHER = affine_of(spacing_mm=(1.0, 2.0, 3.0), degrees=(10.0, 5.0, 20.0), origin_mm=(10.0, 20.0, 30.0))
SHAPE = (7, 5, 4)


def scan_of(folder, affine=PLAIN, *, sform=1, qform=1, **fields):
    path = make_scan(folder / "scan.nii", random_labels(SHAPE), affine, sform_code=sform, qform_code=qform)
    return spoil_header(path, **fields)


def pixdim(*values):
    return {"pixdim": (*values, 0, 0, 0, 0)}


def scaled(factor):
    return np.diag([factor, factor, factor, 1.0]) @ PLAIN


@pytest.mark.parametrize("forms", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (5, 1), (11, 0.001), (9, 1000)])
def test_spacing_and_origin_are_in_mm_whatever_the_unit(tmp_path, code, factor, forms):
    """The codes of time, 8 and so on, are added to that of space. ITK scales alike; nibabel passes over the unit."""
    grid = nifti.read_grid(scan_of(tmp_path, sform=forms[0], qform=forms[1], xyzt_units=code))
    np.testing.assert_allclose(grid.affine, scaled(factor), rtol=1e-5)
    assert grid.voxel_mm3 == pytest.approx(6 * factor**3)


def test_a_volume_without_forms_is_scaled_too(tmp_path):
    grid = nifti.read_grid(scan_of(tmp_path, sform=0, qform=0, xyzt_units=1))
    np.testing.assert_allclose(grid.affine[:3, :3], np.diag([-1000.0, 2000.0, 3000.0]))
    np.testing.assert_allclose(grid.affine @ [3, 2, 1.5, 1], [0, 0, 0, 1], atol=1e-9)  # the middle is the origin


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_mask_has_the_unit_and_the_numbers_of_its_scan(tmp_path, code):
    """So that programs that pass over units lay it on the scan too."""
    path = scan_of(tmp_path, xyzt_units=code)
    mask = written(tmp_path / "mask.nii", random_labels(SHAPE), like=path)
    np.testing.assert_array_equal(mask.affine, nib.load(path).affine)
    assert int(mask.header["xyzt_units"]) == code
    assert nifti.read_grid(path).difference(nifti.read_grid(tmp_path / "mask.nii"), tolerance_mm=0) is None


def test_what_is_written_anew_is_in_mm(tmp_path):
    volume = nifti.read_as_is(scan_of(tmp_path, xyzt_units=3))
    nifti.write_new(tmp_path / "new.nii", volume)
    again = nib.load(tmp_path / "new.nii")
    np.testing.assert_allclose(again.affine, scaled(0.001), rtol=1e-5)
    assert again.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("sform", [0, 1])
@pytest.mark.parametrize(
    ("codes", "agreed"),
    [((1, 1), True), ((4, 1), True), ((1, 4), True), ((0, 2), True), ((2, 0), True), ((7, 1), False)],
)
def test_the_sform_wins_where_it_is_set(tmp_path, codes, agreed, sform):
    """As with nibabel, which passes over codes that it does not know."""
    image = nib.Nifti1Image(random_labels(SHAPE), None)
    image.set_sform(OTHER if sform else PLAIN, 1)
    image.set_qform(PLAIN if sform else OTHER, 1)
    nib.save(image, tmp_path / "scan.nii")
    spoil_header(tmp_path / "scan.nii", sform_code=codes[0], qform_code=codes[1])
    found = nifti.read_grid(tmp_path / "scan.nii").affine
    expected = OTHER if bool(codes[0]) == bool(sform) else PLAIN
    np.testing.assert_allclose(found, expected, atol=HEADER_MM)
    if codes[0] < 7:
        np.testing.assert_allclose(found, nib.load(tmp_path / "scan.nii").affine, atol=HEADER_MM)


REFUSED = {
    "spacing 0, qform": ((0, 1), pixdim(1, 0, 2, 3), r"a qform with spacings \(pixdim\) of 0, 2, 3"),
    "spacing 0, no form": ((0, 0), pixdim(1, 1, 2, 0), r"a header without forms with spacings \(pixdim\) of 1, 2, 0"),
    "spacing NaN, qform": ((0, 1), pixdim(1, np.nan, 2, 3), r"spacings \(pixdim\) of nan, 2, 3"),
    "spacing infinite": ((0, 1), pixdim(1, 1, np.inf, 3), r"spacings \(pixdim\) of 1, inf, 3"),
    "quaternion of 3": ((0, 1), {"quatern_b": 3.0}, "a quaternion of length 3, which is no rotation"),
    "quaternion of NaN": ((0, 1), {"quatern_c": np.nan}, "a quaternion that is not finite"),
    "offset of NaN": ((0, 1), {"qoffset_z": np.nan}, "a qform with numbers that are not finite"),
    "sform of NaN": ((1, 1), {"srow_x": (np.nan, 0, 0, 0)}, "an sform with numbers that are not finite"),
    "sform of zeros": ((1, 1), {"srow_x": (0, 0, 0, 0)}, "an sform with axes that fall together"),
    "a thousand km off": ((1, 1), {"srow_x": (1, 0, 0, 1e9)}, r"an sform that reaches 1e\+09 mm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_gives_no_place_is_refused_with_its_reason(tmp_path, name):
    (sform, qform), fields, found = REFUSED[name]
    path = scan_of(tmp_path, sform=sform, qform=qform, **fields)
    with pytest.raises(UserError, match=rf"its own place; found .*{found}.* in .*scan\.nii"):
        nifti.read(path)


QFORMS = {
    "qfac 1": (pixdim(1, 1, 2, 3), 3.0),
    "qfac 0": (pixdim(0, 1, 2, 3), 3.0),
    "qfac -1": (pixdim(-1, 1, 2, 3), -3.0),
    "qfac -2.5": (pixdim(-2.5, 1, 2, 3), -3.0),  # by its sign, as NIfTI's own code; nibabel takes 1
    "qfac 3": (pixdim(3, 1, 2, 3), 3.0),
    "qfac NaN": (pixdim(np.nan, 1, 2, 3), 3.0),
    "spacing below 0": (pixdim(1, -1, 2, -3), 3.0),  # as nibabel; ITK flips the axis
}


@pytest.mark.parametrize("name", QFORMS)
def test_the_sign_of_pixdim_0_turns_the_third_axis_and_no_other_sign_does(tmp_path, name):
    fields, z = QFORMS[name]
    expected = PLAIN.copy()
    expected[2, 2] = z
    np.testing.assert_allclose(nifti.read_grid(scan_of(tmp_path, sform=0, **fields)).affine, expected, atol=HEADER_MM)


@pytest.mark.parametrize("longer", [1e-7, 5e-7, 1e-4, 9e-4])
def test_a_quaternion_slightly_longer_than_1_is_normalised(tmp_path, longer):
    """As ITK does; nibabel refuses it from 2e-7 on. 0.8, 0.6, 0 is half a turn about an axis in the plane."""
    b, c = 0.8 * (1 + longer), 0.6 * (1 + longer)
    grid = nifti.read_grid(scan_of(tmp_path, sform=0, quatern_b=b, quatern_c=c, quatern_d=0))
    turn = np.array([[0.28, 0.96, 0], [0.96, -0.28, 0], [0, 0, -1]])  # 2·nnᵀ − 1
    np.testing.assert_allclose(grid.affine[:3, :3], turn @ np.diag([1, 2, 3]), atol=1e-6)


UNSOUND = {
    "quaternion of NaN": {"quatern_b": np.nan},
    "offset of NaN": {"qoffset_x": np.nan},
    "quaternion of 3": {"quatern_b": 3.0},
    "spacing of 0": pixdim(1, 0, 2, 3),
    "spacing of NaN": pixdim(1, np.nan, 2, 3),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_a_mask_of_a_sound_sform_and_an_unsound_qform_has_no_qform(tmp_path, name):
    path = scan_of(tmp_path, OTHER, **UNSOUND[name])
    mask = written(tmp_path / "mask.nii", random_labels(SHAPE), like=path)
    np.testing.assert_allclose(mask.affine, OTHER, atol=HEADER_MM)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(mask.header.get_zooms(), (1, 2, 3), rtol=1e-5)
    nifti.write_probabilities(tmp_path / "map.nii", nifti.read_as_is(tmp_path / "mask.nii"), like=path)
    assert int(nib.load(tmp_path / "map.nii").header["qform_code"]) == 0


@pytest.mark.parametrize("degrees", [(0, 0, 0.02), (0.3, -0.2, 0.1), (0.01, 0.01, 0.03), (5, 0, 0), (0, 0, 0)])
def test_a_tilt_that_a_quaternion_cannot_hold_is_the_same_grid(tmp_path, degrees):
    """Near half a turn, as of most LPS scans, float32 leaves a quaternion an angle of up to 7e-4: .25 mm in 360 mm."""
    shape, affine = (512, 512, 100), affine_of(spacing_mm=(0.7, 0.7, 3.0), axes="LPS", degrees=degrees)
    empty = np.broadcast_to(np.uint8(0), shape)
    grids = []
    for name, codes in (("sform", (1, 0)), ("qform", (0, 1))):
        path = make_scan(tmp_path / f"{name}.nii.gz", empty, affine, sform_code=codes[0], qform_code=codes[1])
        grids.append(nifti.read_grid(path))
    assert grids[0].difference(grids[1]) is None
    assert grids[1].difference(grids[0]) is None
    moved = grids[0].affine.copy()
    moved[2, 3] += 0.5  # more than a tenth of a voxel and what rounding explains
    assert "0.5" in grids[1].difference(Grid(shape=shape, affine=moved))


def test_a_side_longer_than_a_mask_can_have_is_refused_before_any_voxel_is_read(tmp_path):
    image = nib.Nifti2Image(np.zeros((1, 1, 40_000), np.uint8), PLAIN)
    nib.save(image, tmp_path / "long.nii.gz")
    with pytest.raises(UserError, match=r"at most 32767 voxels a side.*found shape \(1, 1, 40000\)"):
        nifti.read(tmp_path / "long.nii.gz")
