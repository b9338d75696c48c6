"""NIfTI volumes out: a mask has its scan's geometry, and appears complete or not at all."""

import errno

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import nifti
from segfocal.io.nifti import writer
from segfocal.resample import ModelGrid, resize_labels
from tests import DEMO
from tests.io.nifti.label_files import HEADER_MM, SHAPE, random_labels, written
from tests.scans import AFFINES, make_scan, spoil_header, world_mm


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 1), "uint8"),
        ((0, 255), "uint8"),
        ((0, 256), "uint16"),
        ((0, 70_000), "uint32"),
        ((-1, 127), "int8"),
        ((-1, 128), "int16"),
        ((-40_000, 3), "int32"),
        ((-1, 2**31), "int64"),
    ],
)
def test_labels_are_read_and_written_as_the_smallest_integer_type(tmp_path, values, dtype):
    array = np.resize(np.array(values, dtype=np.int64), SHAPE)
    scan = make_scan(tmp_path / "scan.nii.gz", np.zeros(SHAPE, dtype=np.int16))
    image = written(tmp_path / "mask.nii.gz", array, like=scan)
    assert image.get_data_dtype() == np.dtype(dtype)
    assert np.asanyarray(image.dataobj).dtype == np.dtype(dtype)  # no scaling turns it into floats
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
    again = nifti.read_labels(tmp_path / "mask.nii.gz").array
    assert again.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(again, array)


FORMS = {"both": (1, 1), "only sform": (2, 0), "only qform": (0, 1), "of two kinds": (4, 1), "neither": (0, 0)}


@pytest.mark.parametrize("codes", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("name", AFFINES)
def test_a_mask_has_the_scans_shape_affine_and_form_codes(tmp_path, name, codes):
    sform, qform = codes
    scan_path = make_scan(tmp_path / "scan.nii.gz", random_labels(), AFFINES[name], sform_code=sform, qform_code=qform)
    scan, mask = nib.load(scan_path), written(tmp_path / "mask.nii.gz", random_labels(), like=scan_path)
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=HEADER_MM)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == codes
    np.testing.assert_allclose(mask.header.get_zooms(), scan.header.get_zooms(), rtol=1e-6)  # float32 in the header
    assert mask.header.get_xyzt_units() == scan.header.get_xyzt_units()
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), random_labels())


@pytest.mark.parametrize("name", AFFINES)
def test_an_sform_is_copied_to_the_last_bit(tmp_path, name):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels(), AFFINES[name])
    mask = written(tmp_path / "mask.nii.gz", random_labels(), like=path)
    np.testing.assert_array_equal(mask.affine, nib.load(path).affine)


def test_two_forms_that_disagree_are_both_kept(tmp_path):
    image = nib.Nifti1Image(random_labels(), None)
    image.set_sform(AFFINES["oblique"], 2)
    image.set_qform(AFFINES["LPS"], 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    mask = written(tmp_path / "mask.nii.gz", random_labels(), like=tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(mask.get_sform(), AFFINES["oblique"], atol=HEADER_MM)
    np.testing.assert_allclose(mask.get_qform(), AFFINES["LPS"], atol=HEADER_MM)
    np.testing.assert_allclose(mask.affine, AFFINES["oblique"], atol=HEADER_MM)


def test_a_sheared_sform_is_kept(tmp_path):
    affine = AFFINES["RAS"].copy()
    affine[0, 2] = 0.6  # a tilted gantry
    path = make_scan(tmp_path / "scan.nii.gz", random_labels(), affine, qform_code=0)
    np.testing.assert_allclose(
        written(tmp_path / "mask.nii.gz", random_labels(), like=path).affine, affine, atol=HEADER_MM
    )


@pytest.mark.parametrize(("field", "value"), [("xyzt_units", 255), ("quatern_b", 3.0)])
def test_a_scan_with_nonsense_in_a_field_nobody_needs_still_gets_its_mask(tmp_path, field, value):
    """Such scans open everywhere, by their sform; the mask must not be lost after it was computed."""
    path = spoil_header(make_scan(tmp_path / "scan.nii", random_labels(), AFFINES["oblique"]), **{field: value})
    mask = written(tmp_path / "mask.nii", random_labels(), like=path)
    np.testing.assert_array_equal(mask.affine, nib.load(path).affine)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), random_labels())


def test_a_mask_on_another_grid_is_refused(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels(), AFFINES["RAS"])
    moved = Volume(array=random_labels(), grid=Grid(shape=SHAPE, affine=AFFINES["LPS"]))
    with pytest.raises(UserError, match=r"expected a mask on the scan's grid; found .* in .*scan\.nii\.gz"):
        nifti.write(tmp_path / "mask.nii.gz", moved, like=path)
    assert names_in(tmp_path) == ["scan.nii.gz"]


@pytest.mark.parametrize("name", ["mask.png", "mask", "mask.nii.zip", "mask.mha"])
def test_an_output_that_is_not_named_as_nifti_is_refused(tmp_path, name):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    with pytest.raises(UserError, match=f"ending in .nii.gz or .nii; found {name}"):
        written(tmp_path / name, random_labels(), like=path)


def test_an_existing_output_is_left_as_it_is(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    (tmp_path / "mask.nii.gz").write_bytes(b"somebody's work")
    with pytest.raises(UserError, match=r"existing file in .*mask\.nii\.gz.*overwrite=true"):
        written(tmp_path / "mask.nii.gz", random_labels(), like=path)
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"somebody's work"
    assert names_in(tmp_path) == ["mask.nii.gz", "scan.nii.gz"]


def test_an_existing_output_is_replaced_when_asked(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    (tmp_path / "mask.nii.gz").write_bytes(b"old")
    mask = written(tmp_path / "mask.nii.gz", random_labels(), like=path, overwrite=True)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), random_labels())


def test_a_mask_may_replace_the_scan_it_lies_on(tmp_path):
    path = make_scan(tmp_path / "scan.nii", random_labels(), AFFINES["oblique"])
    written(path, random_labels(seed=1), like=path, overwrite=True)
    np.testing.assert_array_equal(nifti.read_labels(path).array, random_labels(seed=1))
    np.testing.assert_allclose(nifti.read_grid(path).affine, AFFINES["oblique"], atol=HEADER_MM)


def full_disk(written):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(written):
    raise KeyboardInterrupt


@pytest.mark.parametrize("existing", [None, b"somebody's work"])
@pytest.mark.parametrize(("failure", "error"), [(full_disk, UserError), (interrupted, KeyboardInterrupt)])
def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, failure, error, existing):
    path, output = make_scan(tmp_path / "scan.nii.gz", random_labels()), tmp_path / "out" / "mask.nii.gz"
    output.parent.mkdir()
    if existing:
        output.write_bytes(existing)
    monkeypatch.setattr(writer, "release", failure)  # after the first slices
    with pytest.raises(error, match="No space left on device in .*mask.nii.gz" if error is UserError else None):
        written(output, random_labels(), like=path, overwrite=True)
    assert names_in(output.parent) == (["mask.nii.gz"] if existing else [])
    assert not existing or output.read_bytes() == existing


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    (tmp_path / "results").write_text("notes")
    with pytest.raises(UserError, match=r"expected a place to write to; found .* in .*results"):
        written(tmp_path / "results" / "mask.nii.gz", random_labels(), like=path)


def test_missing_folders_are_made(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    written(tmp_path / "a" / "b" / "mask.nii.gz", random_labels(), like=path)
    assert names_in(tmp_path / "a" / "b") == ["mask.nii.gz"]


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("name", AFFINES)
def test_a_marker_on_the_patients_left_comes_back_to_its_place(tmp_path, name, codes):
    """Scan → model frame → mask → scan's frame → file, checked in world millimetres with nibabel alone."""
    shape = (11, 8, 9)
    indices = np.moveaxis(np.indices(shape), 0, -1)
    marker = np.unravel_index(np.argmin(world_mm(AFFINES[name], indices)[..., 0]), shape)  # leftmost: x is smallest
    array = np.zeros(shape, dtype=np.int16)
    array[marker] = 1000
    path = make_scan(tmp_path / "scan.nii.gz", array, AFFINES[name], sform_code=codes[0], qform_code=codes[1])
    where = world_mm(AFFINES[name], marker)

    scan = nifti.read(path)
    seen = ModelGrid(frame="SPL").image(scan)
    (found,) = np.argwhere(seen.array > 500)
    np.testing.assert_allclose(world_mm(seen.grid.affine, found), where, atol=HEADER_MM)
    assert found[2] == seen.array.shape[2] - 1  # the patient's left is on the right of the picture

    mask = scan.grid.orientation_to("SPL").undo((seen.array > 500).astype(np.uint8))
    nifti.write(tmp_path / "mask.nii.gz", Volume(array=mask, grid=scan.grid), like=path)
    image = nib.load(tmp_path / "mask.nii.gz")
    (voxel,) = np.argwhere(np.asanyarray(image.dataobj))
    np.testing.assert_array_equal(voxel, marker)
    np.testing.assert_allclose(nib.affines.apply_affine(image.affine, voxel), where, atol=HEADER_MM)


@pytest.mark.parametrize(("case", "axes"), [("ct_a", "RAS"), ("ct_b", "LPS")])
def test_a_real_scans_labels_come_back_from_the_models_grid(tmp_path, case, axes):
    image_path, label_path = DEMO / f"{case}_image.nii.gz", DEMO / f"{case}_label.nii.gz"
    scan, labels = nifti.read(image_path), nifti.read_labels(label_path)
    assert scan.grid.frame == axes
    assert scan.grid.difference(labels.grid) is None
    values = np.unique(labels.array)
    largest = max(values[values > 0], key=lambda value: int((labels.array == value).sum()))
    turned = scan.grid.orientation_to("SPL")
    assert ModelGrid(frame="SPL").of(scan.grid).frame == "SPL"

    same = ModelGrid(frame="SPL").labels(labels, [int(largest)])
    nifti.write(tmp_path / "same.nii.gz", Volume(array=turned.undo(same.array), grid=scan.grid), like=image_path)
    mask, original = nib.load(tmp_path / "same.nii.gz"), nib.load(label_path)
    truth = np.asanyarray(original.dataobj) == largest
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), truth)
    np.testing.assert_array_equal(mask.affine, nib.load(image_path).affine)

    resampled = ModelGrid(frame="SPL", spacing_mm=(2.5, 2.5)).labels(labels, [int(largest)])
    back = turned.undo(resize_labels(resampled.array, [1], turned.apply(truth).shape[1:])) == 1
    # The outline may move by half the coarser voxel: no voxel but those next to it may change.
    reach = 2 if case == "ct_b" else 1  # voxels of 0.98 and 3 mm
    outline = binary_dilation(truth, iterations=reach) & ~(~binary_dilation(~truth, iterations=reach))
    assert not ((back != truth) & ~outline).any()
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.95


@pytest.mark.parametrize(("ending", "packed"), [(".NII.GZ", True), (".Nii", False)])
def test_an_ending_in_other_letters_means_the_same(tmp_path, ending, packed):
    scan = make_scan(tmp_path / "scan.nii.gz", np.zeros(SHAPE, np.int16))
    labels = Volume(array=random_labels(), grid=nifti.read_grid(scan))
    path = tmp_path / f"mask{ending}"
    nifti.write(path, labels, like=scan)
    assert path.read_bytes().startswith(b"\x1f\x8b") == packed
    np.testing.assert_array_equal(nifti.read_labels(path).array, labels.array)
