"""The voxels of DICOM series: rescaled slice by slice, in every compression that is read."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import JPEGLSLossless, RLELossless  # noqa: E402

from segfocal.errors import UserError  # noqa: E402
from segfocal.grid import Volume  # noqa: E402
from segfocal.io import dicom, nifti, volumes  # noqa: E402
from tests import DEMO  # noqa: E402
from tests.dicom import make_series, make_slice, stored_values  # noqa: E402


def test_series_of_ct_b_is_its_nifti_voxel_for_voxel():
    scan, same = dicom.read_stored(DEMO / "ct_b_dicom"), nifti.read_stored(DEMO / "ct_b_image.nii.gz")
    # No turn between: slices along their normal, columns and rows as stored, are this NIfTI's own axes.
    assert scan.array.dtype == same.array.dtype == np.int16
    np.testing.assert_array_equal(scan.array, same.array)
    np.testing.assert_array_equal(scan.grid.affine.astype(np.float32), same.grid.affine.astype(np.float32))
    assert dicom.read_grid(DEMO / "ct_b_dicom").difference(same.grid) is None


def test_slopes_that_differ_by_slice_give_floats(tmp_path):
    def rescale(index, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 + index, 3

    stored = stored_values()
    scan = dicom.read_stored(make_series(tmp_path / "s", stored, change=rescale))
    assert scan.array.dtype == np.float32
    np.testing.assert_allclose(scan.array, stored * (0.5 + np.arange(5)) + 3, rtol=1e-6)


def test_values_beyond_int16_stay_whole(tmp_path):
    stored = stored_values()
    stored[0, 0, 3] = -32768
    scan = dicom.read_stored(make_series(tmp_path / "s", stored))
    assert scan.array.dtype == np.int32
    np.testing.assert_array_equal(scan.array, stored.astype(np.int32) - 1024)


def test_run_length_encoded_slices_are_the_uncompressed_ones(tmp_path):
    plain = make_series(tmp_path / "plain")
    coded = make_series(tmp_path / "rle", change=lambda index, dataset: dataset.compress(RLELossless))
    np.testing.assert_array_equal(dicom.read(plain).array, dicom.read(coded).array)


def test_frames_of_an_enhanced_file_are_slices(tmp_path):
    stored = stored_values()
    path = make_enhanced(tmp_path / "enhanced.dcm", stored)
    scan = volumes.read_stored(path)
    np.testing.assert_array_equal(scan.array, stored - 1000)
    assert scan.grid.difference(dicom.read_grid(make_series(tmp_path / "s", stored))) is None


def make_enhanced(path, stored):
    """Write slices [column,row,slice], the last first, as one file of frames that say where they lie."""
    dataset = make_slice(stored[:, :, 0].T, (0, 0, 0))
    shared, groups = pydicom.Dataset(), []
    for group, name in (
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ("PixelMeasuresSequence", "PixelSpacing"),
    ):
        setattr(shared, group, [pydicom.Dataset()])
        setattr(getattr(shared, group)[0], name, dataset[name].value)
        del dataset[name]
    for index in range(stored.shape[2])[::-1]:
        place, rescaling, group = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [-10, -20, 30 + 2.5 * index]
        rescaling.RescaleSlope, rescaling.RescaleIntercept = 1, -1000
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [rescaling]
        groups.append(group)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], groups
    dataset.NumberOfFrames = len(groups)
    dataset.PixelData = np.ascontiguousarray(stored.transpose(2, 1, 0)[::-1]).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_mask_of_a_series_is_a_nifti_in_its_place(tmp_path):
    folder = make_series(tmp_path / "s")
    grid = dicom.read_grid(folder)
    labels = np.random.default_rng(1).integers(0, 3, grid.shape).astype(np.uint8)
    volumes.write(tmp_path / "mask.nii.gz", Volume(array=labels, grid=grid), like=folder)
    back = volumes.read_labels(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(back.array, labels)
    assert grid.difference(back.grid) is None
    # nibabel sees mm and a scanner's frame, as other programs would
    import nibabel as nib

    header = nib.load(tmp_path / "mask.nii.gz").header
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_a_compression_without_a_decoder_is_one_clear_line(tmp_path):
    def relabel(index, dataset):
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"

    with pytest.raises(UserError, match=r"pixels that can be decoded; found .*JPEG Lossless.*python-gdcm") as caught:
        volumes.read(make_series(tmp_path / "s", change=relabel))
    assert "\n" not in str(caught.value)


def test_jpeg_ls_slices_are_the_uncompressed_ones(tmp_path):
    pytest.importorskip("jpeg_ls")
    stored = stored_values((24, 16, 2))
    coded = make_series(tmp_path / "s", stored, change=lambda index, dataset: dataset.compress(JPEGLSLossless))
    np.testing.assert_array_equal(dicom.read_stored(coded).array, stored - 1024)


@pytest.mark.filterwarnings("ignore")
def test_damage_at_random_is_read_or_refused(tmp_path, caplog):
    caplog.set_level("CRITICAL")
    folder = make_series(tmp_path / "s", stored_values((5, 4, 2)))
    file, rng = min(folder.iterdir()), np.random.default_rng(1)
    whole, told = file.read_bytes(), []
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(128, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            volumes.read(folder)
        except UserError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in message for message in told)
