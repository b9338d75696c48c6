"""NIfTI volumes in: values, types and grid are those of the file, and each damaged file is refused in one line."""

import gzip
import os
import time

import nibabel as nib
import numpy as np
import pytest

from segfocal import memory
from segfocal.errors import Fault, UserError, noted
from segfocal.io import nifti
from tests.io.nifti.label_files import HEADER_MM, SHAPE, random_labels, written
from tests.scans import AFFINES, make_scan, spoil_header


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("name", AFFINES)
def test_an_image_is_read_with_its_values_and_affine(tmp_path, name, ending):
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    volume = nifti.read(make_scan(tmp_path / f"scan{ending}", array, AFFINES[name]))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.grid.affine, AFFINES[name], atol=HEADER_MM)
    assert volume.grid.shape == SHAPE
    assert volume.array.dtype == np.float32


def test_header_scaling_is_honoured(tmp_path):
    stored = random_labels()
    path = make_scan(tmp_path / "scan.nii.gz", stored, slope=2.5, intercept=-1024.0)
    np.testing.assert_array_equal(nifti.read(path).array, 2.5 * stored - 1024)  # exact in float32: few binary digits
    path = make_scan(tmp_path / "label.nii.gz", stored, slope=3.0, intercept=-2.0)
    np.testing.assert_array_equal(nifti.read_labels(path).array, 3 * stored - 2)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "f4", ">f4", "f8"])
def test_every_number_type_is_read(tmp_path, dtype):
    image = nib.Nifti1Image(random_labels().astype(dtype), np.eye(4), dtype=np.dtype(dtype))
    nib.save(image, tmp_path / "scan.nii")
    assert nifti.read(tmp_path / "scan.nii").array.dtype == np.float32
    np.testing.assert_array_equal(nifti.read(tmp_path / "scan.nii").array, random_labels())
    labels = nifti.read_labels(tmp_path / "scan.nii").array
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, random_labels())


def test_the_grid_alone_is_that_of_the_volume(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels(), AFFINES["oblique"])
    assert nifti.read_grid(path).difference(nifti.read(path).grid, tolerance_mm=0.0) is None


def test_labels_saved_as_floats_become_integers(tmp_path):
    path = make_scan(tmp_path / "label.nii.gz", random_labels().astype(np.float32))
    labels = nifti.read_labels(path).array
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, random_labels())


@pytest.mark.parametrize("ones", [1, 2])
def test_trailing_axes_of_one_are_dropped(tmp_path, ones):
    array = random_labels()
    path = make_scan(tmp_path / "scan.nii.gz", array.reshape(SHAPE + (1,) * ones))
    assert nifti.read_grid(path).shape == SHAPE
    np.testing.assert_array_equal(nifti.read(path).array, array)
    np.testing.assert_array_equal(nifti.read_labels(path).array, array)
    assert written(tmp_path / "mask.nii.gz", array, like=path).shape == SHAPE


def test_a_volume_of_one_slice_keeps_its_third_axis(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels((7, 5, 1)))
    assert nifti.read(path).array.shape == (7, 5, 1)


def truncated_gz(path):
    whole = make_scan(path, np.random.default_rng(0).normal(size=(20, 20, 20))).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def gz_cut_in_the_header(path):
    make_scan(path, random_labels())
    path.write_bytes(path.read_bytes()[:40])


def gz_of_fewer_slices(path):
    raw = gzip.decompress(make_scan(path, random_labels()).read_bytes())
    path.write_bytes(gzip.compress(raw[: -7 * 5 * 2]))


def gz_with_a_flipped_bit(path):
    """Such a file unpacks without complaint to other voxels; only its checksum tells."""
    content = bytearray(make_scan(path, np.random.default_rng(0).normal(size=(20, 20, 20))).read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def gz_of_another_checksum(path):
    content = bytearray(make_scan(path, random_labels()).read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def fewer_slices(path):
    path.write_bytes(make_scan(path, random_labels()).read_bytes()[: -7 * 5 * 2])


def header_only(path):
    path.write_bytes(make_scan(path, random_labels()).read_bytes()[:352])


def cut_header(path):
    path.write_bytes(make_scan(path, random_labels()).read_bytes()[:200])


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def gzipped_garbage(path):
    path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(5000)))


def empty(path):
    path.write_bytes(b"")


def missing(path):
    pass


def a_folder(path):
    path.mkdir()


def four_axes(path):
    make_scan(path, np.zeros((7, 5, 4, 2), dtype=np.int16))


def two_axes(path):
    make_scan(path, np.zeros((7, 5), dtype=np.int16))


def no_place(path):
    singular = np.diag([1.0, 1.0, 0.0, 1.0])
    make_scan(path, random_labels(), singular, qform_code=0)


def nan_place(path):
    spoil_header(make_scan(path, random_labels(), qform_code=0), srow_x=(np.nan, 0.0, 0.0, 0.0))


def colours(path):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4)), path)


def complex_numbers(path):
    nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.complex64), np.eye(4)), path)


DAMAGE = [
    (truncated_gz, ".nii.gz", "a whole NIfTI file"),
    (gz_cut_in_the_header, ".nii.gz", "a whole NIfTI file"),
    (gz_of_fewer_slices, ".nii.gz", "a whole NIfTI file"),
    (gz_with_a_flipped_bit, ".nii.gz", "a whole NIfTI file"),
    (gz_of_another_checksum, ".nii.gz", "a whole NIfTI file"),
    (fewer_slices, ".nii", "a whole NIfTI file"),
    (header_only, ".nii", "a whole NIfTI file"),
    (cut_header, ".nii", "a whole NIfTI file"),
    (garbage, ".nii", "a whole NIfTI file"),
    (garbage, ".nii.gz", "a whole NIfTI file"),
    (gzipped_garbage, ".nii.gz", "a whole NIfTI file"),
    (empty, ".nii", "a whole NIfTI file"),
    (empty, ".nii.gz", "a whole NIfTI file"),
    (missing, ".nii.gz", "a NIfTI file; found no such file"),
    (a_folder, ".nii.gz", "a NIfTI file; found a folder"),
    (four_axes, ".nii.gz", r"a 3-D volume; found 4 axes, shape \(7, 5, 4, 2\)"),
    (two_axes, ".nii.gz", "a 3-D volume; found 2 axes"),
    (no_place, ".nii.gz", "an affine that gives every voxel its own place"),
    (nan_place, ".nii", "an affine that gives every voxel its own place"),
    (colours, ".nii.gz", "one real number a voxel"),
    (complex_numbers, ".nii.gz", "one real number a voxel"),
]


@pytest.mark.parametrize("reader", [nifti.read, nifti.read_labels], ids=["image", "labels"])
@pytest.mark.parametrize(("spoil", "ending", "expected"), DAMAGE, ids=[d[0].__name__ + d[1] for d in DAMAGE])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, reader, spoil, ending, expected):
    path = tmp_path / f"patient_17{ending}"
    spoil(path)
    with pytest.raises(UserError, match=f"expected {expected}.*patient_17{ending}"):
        reader(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_not_finite_is_refused_with_its_place(tmp_path, value):
    array = np.zeros(SHAPE, dtype=np.float32)
    array[4, 1, 3] = array[5, 1, 3] = value
    path = make_scan(tmp_path / "patient_17.nii.gz", array)
    with pytest.raises(UserError, match=r"2 NaN or infinite, the first at \(4, 1, 3\) in .*patient_17\.nii\.gz"):
        nifti.read(path)
    with pytest.raises(UserError, match=r"whole numbers; found values such as .* in .*patient_17\.nii\.gz"):
        nifti.read_labels(path)


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path):
    array = random_labels().astype(np.float32)
    array[0, 0, 0] = 0.25
    path = make_scan(tmp_path / "patient_17.nii.gz", array)
    with pytest.raises(UserError, match=r"values such as 0\.25 in .*patient_17\.nii\.gz"):
        nifti.read_labels(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "patient_17.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"ending in \.nii\.gz or \.nii; found patient_17\.png"):
        nifti.read(tmp_path / "patient_17.png")


def test_label_schemes_with_large_numbers_are_label_maps(tmp_path):
    """FreeSurfer's cortical labels are 1000–2035."""
    labels = np.zeros((20, 20, 3), dtype=np.int16)
    labels.flat[:70] = np.r_[1000:1035, 2000:2035]
    volume = nifti.read_labels(make_scan(tmp_path / "aparc.nii.gz", labels))
    nifti.check_label_map(volume, tmp_path / "aparc.nii.gz")
    np.testing.assert_array_equal(volume.array, labels)


@pytest.mark.parametrize("values", [np.arange(1200), np.arange(1200) - 1, [40000]])
def test_intensities_are_no_label_map(tmp_path, values):
    labels = np.zeros((20, 20, 3), dtype=np.int32)
    labels.flat[: len(values)] = values
    volume = nifti.read_labels(make_scan(tmp_path / "ct.nii.gz", labels))
    with pytest.raises(UserError, match=r"as in an image"):
        nifti.check_label_map(volume, tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("off", [1e-6, 5e-5, 0.0099])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_almost_whole_are_rounded_with_a_note(tmp_path, off, dtype):
    """A resampler leaves 2.99995 for 3."""
    path = make_scan(tmp_path / "label.nii.gz", (random_labels() * (1 - off / 4)).astype(dtype))
    with noted() as notes:
        labels = nifti.read_labels(path).array
    np.testing.assert_array_equal(labels, random_labels())
    assert len(notes) == 1
    assert "such as 1 " not in notes[0]
    assert notes[0].startswith(f"{path}: values such as ")


@pytest.mark.parametrize("value", [2.98, 3.011, np.float64(3.0100458), -0.02])
def test_labels_farther_from_whole_numbers_are_refused_in_full(tmp_path, value):
    path = make_scan(tmp_path / "label.nii.gz", np.full(SHAPE, value))
    with pytest.raises(UserError, match=f"whole numbers; found values such as {float(value)} in"):
        nifti.read_labels(path)


def test_labels_of_whole_floats_need_no_note(tmp_path):
    with noted() as notes:
        nifti.read_labels(make_scan(tmp_path / "label.nii.gz", random_labels().astype(np.float32)))
    assert notes == []


def test_bytes_after_the_packed_ones_are_called_so(tmp_path):
    path = make_scan(tmp_path / "scan.nii.gz", random_labels())
    path.write_bytes(path.read_bytes() + b"and so on" * 9)
    with pytest.raises(UserError, match="found other bytes after the end of a gzip content that is whole") as told:
        nifti.read(path)
    assert told.value.fault is Fault.TRAILING_BYTES


@pytest.mark.parametrize("inter", [0.0, 5.0, np.nan, np.inf])
@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf, -np.inf])
def test_without_a_finite_slope_there_is_no_scale(tmp_path, slope, inter):
    """As the standard says and nibabel does; ITK adds the intercept."""
    path = spoil_header(make_scan(tmp_path / "scan.nii", random_labels()), scl_slope=slope, scl_inter=inter)
    np.testing.assert_array_equal(nifti.read(path).array, random_labels())


SCALES = {
    "nan": (1.0, np.nan),
    "inf": (2.0, np.inf),
    "lost": (1.0, 1e12),
    "far below": (1e-30, 1.0),
    "no digits": (1e-39, 0),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_that_is_none_is_refused_with_its_numbers(tmp_path, name):
    slope, inter = SCALES[name]
    path = spoil_header(make_scan(tmp_path / "scan.nii", random_labels()), scl_slope=slope, scl_inter=inter)
    with pytest.raises(
        UserError, match=rf"found scl_slope {slope:g} and scl_inter {inter:g} in .*scan\.nii".replace("+", r"\+")
    ):
        nifti.read(path)


@pytest.mark.parametrize(("slope", "inter"), [(1e39, 0.0), (2.0, -1e300)])
def test_a_scale_beyond_float32_which_nifti_2_can_hold_is_refused(tmp_path, slope, inter):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti2Image(random_labels().astype(np.float32), np.eye(4)), path)
    spoil_header(path, scl_slope=slope, scl_inter=inter)
    with pytest.raises(UserError, match="expected a scale that keeps voxels apart"):
        nifti.read(path)


@pytest.mark.parametrize(("slope", "inter"), [(1e-30, 0.0), (0.5, 1e6), (-2.0, 7.0)])
def test_a_small_or_negative_scale_is_a_scale(tmp_path, slope, inter):
    path = spoil_header(make_scan(tmp_path / "scan.nii", random_labels()), scl_slope=slope, scl_inter=inter)
    np.testing.assert_allclose(nifti.read(path).array, random_labels() * slope + inter, rtol=1e-6)


@pytest.mark.parametrize("reader", [nifti.read, nifti.read_labels, nifti.read_as_is])
def test_a_packed_volume_larger_than_the_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, reader):
    path = make_scan(tmp_path / "bomb.nii.gz", np.zeros((256, 256, 64), np.uint8))  # 4 MiB of 5 kB
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 << 20)
    with pytest.raises(UserError, match=r"a volume of 256×256×64 voxels.* 0\.00293 GiB .*takes 0\.00391 GiB") as told:
        reader(path)
    assert told.value.fault is Fault.TOO_LARGE
    monkeypatch.setattr(memory, "available_bytes", lambda: 5 << 20)
    assert reader(path).array.shape == (256, 256, 64)


def test_a_scaled_volume_counts_with_its_copy_and_a_mapped_one_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    plain = make_scan(tmp_path / "plain.nii", np.zeros((128, 128, 32), np.int16))
    assert nifti.read_as_is(plain).array.shape == (128, 128, 32)
    with pytest.raises(UserError, match=r"0\.00195 GiB"):  # 4 bytes a voxel
        nifti.read_as_is(make_scan(tmp_path / "scaled.nii", np.zeros((128, 128, 32), np.int16), slope=2.0))


def test_a_column_of_voxels_is_looked_at_in_no_time(tmp_path):
    """A scan is looked at slice by slice; 32,767 slices of a voxel took as many steps."""
    path = make_scan(tmp_path / "column.nii", np.zeros((1, 1, 32_767), np.float32))
    began = time.process_time()
    nifti.read(path)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_what_is_no_file_is_refused_at_once(tmp_path, ending):
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"zero{ending}").symlink_to("/dev/zero")
    for name, found in (("pipe", "a pipe"), ("zero", "a device")):
        with pytest.raises(UserError, match=f"a NIfTI file; found {found} in"):
            nifti.read(tmp_path / f"{name}{ending}")
