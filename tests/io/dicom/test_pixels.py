"""The voxels of DICOM series: rescaled slice by slice, in every compression that is read."""

import io

import numpy as np
import pytest
from PIL import Image

pydicom = pytest.importorskip("pydicom")
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless  # noqa: E402

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


STORED, OVERLAY = 12, 4096  # bits of a number; the bit above them


def in_16_bits(values, high=STORED - 1):
    """Return numbers of 12 bits below a high bit, with the first bit outside of them set as an overlay sets it."""
    raw = (values.astype(np.uint16) & (OVERLAY - 1)) << (high - STORED + 1)
    return raw | np.uint16(OVERLAY if high == STORED - 1 else 1)


def jpeg_2000(raw):
    data = io.BytesIO()
    Image.fromarray(raw).save(data, format="JPEG2000", irreversible=False, num_resolutions=1, no_jp2=True)
    return data.getvalue()


def jpeg_ls(raw):
    return bytes(pytest.importorskip("jpeg_ls").encode_array(raw))


CODED = {"plain": None, "rle": RLELossless, "jpeg 2000": JPEG2000Lossless, "jpeg-ls": JPEGLSLossless}


def store_coded(dataset, raw, kind):
    """Put pixels [row,column] of uint16 into a dataset, all of whose bits the compression keeps."""
    if kind in ("plain", "rle"):
        dataset.PixelData = raw.tobytes()
        if kind == "rle":
            dataset.compress(RLELossless)
        return
    dataset.PixelData = encapsulate([(jpeg_2000 if kind == "jpeg 2000" else jpeg_ls)(raw)])
    dataset["PixelData"].VR, dataset.file_meta.TransferSyntaxUID = "OB", CODED[kind]


@pytest.mark.parametrize("kind", CODED)
@pytest.mark.parametrize("signed", [False, True])
def test_only_the_stored_bits_of_a_pixel_are_its_value(tmp_path, kind, signed):
    values = stored_values((24, 16, 2)) - (1000 if signed else 0)

    def change(index, dataset):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = STORED, STORED - 1, int(signed)
        store_coded(dataset, in_16_bits(values[:, :, index].T), kind)

    scan = dicom.read_stored(make_series(tmp_path / "s", values, change=change))
    np.testing.assert_array_equal(scan.array, values - 1024)
    np.testing.assert_array_equal(dicom.read(tmp_path / "s").array, values - 1024)


@pytest.mark.parametrize("kind", ["plain", "rle"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_high_bit_says_where_the_stored_bits_end(tmp_path, kind, signed):
    values = stored_values() - (1000 if signed else 0)

    def change(index, dataset):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = STORED, 15, int(signed)
        store_coded(dataset, in_16_bits(values[:, :, index].T, high=15), kind)

    np.testing.assert_array_equal(dicom.read(make_series(tmp_path / "s", values, change=change)).array, values - 1024)


@pytest.mark.parametrize(("kind", "high"), [("jpeg 2000", 15), ("jpeg-ls", 15), ("plain", 16), ("plain", 5)])
def test_a_high_bit_that_cannot_be_is_one_line(tmp_path, kind, high):
    def change(index, dataset):
        dataset.BitsStored, dataset.HighBit = STORED, high
        store_coded(dataset, in_16_bits(stored_values((24, 16, 1))[:, :, 0].T), kind)

    series = make_series(tmp_path / "s", stored_values((24, 16, 1)), change=change)
    with pytest.raises(UserError, match=rf"below a high bit of 11; found a high bit of {high} in .*slice000\.dcm"):
        dicom.read(series)


def test_pixels_of_real_numbers_keep_their_fractions(tmp_path):
    values = stored_values().astype(np.float32) / 7

    def change(index, dataset):
        del dataset.PixelData, dataset.HighBit, dataset.PixelRepresentation, dataset.BitsStored
        dataset.BitsAllocated, dataset.FloatPixelData = 32, np.ascontiguousarray(values[:, :, index].T).tobytes()

    scan = dicom.read_stored(make_series(tmp_path / "s", change=change, RescaleIntercept=0))
    np.testing.assert_array_equal(scan.array, values)


def test_numbers_of_32_bits_are_not_wrapped(tmp_path):
    values = np.array([0, 70_000, 2**31 - 1, 2**32 - 1])

    def change(index, dataset):
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 32, 32, 31, 0
        dataset.PixelData = np.full((7, 9), values[index], np.uint32).tobytes()

    scan = dicom.read_stored(make_series(tmp_path / "s", np.zeros((9, 7, 4)), change=change))
    np.testing.assert_array_equal(scan.array[0, 0], (values - 1024).astype(np.float32))


def test_a_pet_is_rescaled_slice_by_slice(tmp_path):
    """Counts of a decaying tracer: each slice is stored over the whole range of its type."""
    activity = np.random.default_rng(4).uniform(0, 30_000, (9, 7, 5)) * [1, 0.1, 0.7, 0.02, 0.4]
    slopes = activity.max((0, 1)) / 32767

    def change(index, dataset):
        dataset.Modality, dataset.Units, dataset.RescaleIntercept = "PT", "BQML", 0
        dataset.RescaleSlope = f"{slopes[index]:.10g}"

    scan = dicom.read_stored(make_series(tmp_path / "s", np.rint(activity / slopes).astype(np.int16), change=change))
    assert (np.abs(scan.array - activity) <= 0.51 * slopes).all()  # half a stored unit
