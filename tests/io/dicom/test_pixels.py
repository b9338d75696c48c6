"""DICOM series read as volumes: the voxels and the place they have in NIfTI, and one line for each way it cannot be."""

import shutil

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid  # noqa: E402

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


def test_slices_are_ordered_by_place_and_rescaled(tmp_path):
    stored = stored_values()
    scan = dicom.read_stored(make_series(tmp_path / "s", stored))
    np.testing.assert_array_equal(scan.array, stored - 1024)
    # LPS (-10,-20,30) is RAS (10,20,30); columns (0.6 mm) go to the left, rows (0.8 mm) to the back.
    np.testing.assert_allclose(
        scan.grid.affine, [[-0.6, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]], atol=1e-12
    )


def test_slices_stored_head_first_come_feet_first(tmp_path):
    stored = stored_values()
    scan = dicom.read_stored(make_series(tmp_path / "s", stored, step=(0, 0, -2.5)))
    np.testing.assert_array_equal(scan.array, stored[:, :, ::-1] - 1024)
    assert scan.grid.affine[2, 3] == pytest.approx(30 - 4 * 2.5)


def test_oblique_series_keeps_its_directions(tmp_path):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    row, column = turn[:, 0], turn[:, 1]
    step = 2.5 * np.cross(row, column)
    directions = [float(f"{value:.9f}") for value in (*row, *column)]
    series = make_series(tmp_path / "s", step=step, ImageOrientationPatient=directions)
    grid = dicom.read_grid(series)
    lps = np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(grid.affine[:3, 0], lps @ row * 0.6, atol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 1], lps @ column * 0.8, atol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 2], lps @ step, atol=1e-6)


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


def test_one_of_several_series_is_chosen_by_its_uid(tmp_path):
    first, second = generate_uid(), generate_uid()
    make_series(tmp_path / "s", uids={"SeriesInstanceUID": first}, SeriesDescription="arterial")
    for path in (tmp_path / "s").iterdir():
        path.rename(path.with_name("a" + path.name))
    wanted = stored_values(seed=1)
    make_series(tmp_path / "s", wanted, uids={"SeriesInstanceUID": second})
    with pytest.raises(UserError, match=r"one DICOM series; found 2 \(.*arterial, 5 files"):
        volumes.read(tmp_path / "s")
    np.testing.assert_array_equal(volumes.read(f"{tmp_path / 's'}@{second}").array, wanted - 1024)
    with pytest.raises(UserError, match=r"expected the series 1\.2\.3"):
        volumes.read(f"{tmp_path / 's'}@1.2.3")


def test_a_localizer_of_its_own_series_is_no_rival(tmp_path):
    folder = make_series(tmp_path / "s")
    scout = make_slice(np.zeros((40, 50)), (0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    scout.SeriesInstanceUID = generate_uid()
    scout.save_as(folder / "scout.dcm", enforce_file_format=True)
    assert dicom.read(folder).array.shape == (9, 7, 5)


def test_files_that_say_they_are_no_slices_are_passed_over(tmp_path):
    folder = make_series(tmp_path / "s")
    (folder / "README.txt").write_text("notes")
    (folder / ".DS_Store").write_bytes(b"x")
    assert dicom.read(folder).array.shape == (9, 7, 5)


def _leave_out(*indices):
    return {"change": lambda index, dataset: index not in indices}


def _at(index, **elements):
    def change(i, dataset):
        for name, value in elements.items() if i == index else ():
            setattr(dataset, name, value)

    return {"change": change}


BAD = {
    "missing slice": (_leave_out(2), "slices at even distances; found 1 missing between slice"),
    "missing slices": (_leave_out(1, 2), "slices at even distances; found 2 missing between"),
    "uneven spacing": (_at(2, ImagePositionPatient=[-10, -20, 35.9]), "even distances; found gaps of 1.60 to 3.40 mm"),
    "two in one place": (_at(2, ImagePositionPatient=[-10, -20, 32.5]), "one slice in a place; found slice"),
    "other size": (_at(1, Rows=9, Columns=7), "slices of one size; found 4 of 7×9 pixels, 1 of 9×7 pixels"),
    "other spacing": (_at(1, PixelSpacing=[1, 1]), "slices of one pixel spacing; found 4 of 0.8000×0.6000 mm"),
    "other directions": (_at(1, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "slices of one direction; found 4 of"),
    "tilted gantry": ({"step": (0, 0.7, 2.5)}, "each 0.70 mm aside of the one before .a gantry tilted by 15.6°"),
    "no position": ({"ImagePositionPatient": None}, "a slice with ImagePositionPatient, 3 numbers; found none in"),
    "no spacing": ({"PixelSpacing": None}, "a slice with PixelSpacing, 2 numbers; found none"),
    "skewed directions": ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular unit directions"),
    "colour": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "MONOCHROME2 pixels; found RGB"),
    "slope zero": ({"RescaleSlope": 0}, "a finite rescaling; found .* slope 0.0"),
    "pixels cut short": (_at(3, PixelData=b"\0" * 20), "pixels|damaged or cut short"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_series_is_one_clear_line(kind, tmp_path):
    options, message = BAD[kind]
    folder = make_series(tmp_path / "s", **options)
    with pytest.raises(UserError, match=message) as caught:
        volumes.read(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_one_clear_line(tmp_path):
    folder = make_series(tmp_path / "s")
    file = sorted(folder.iterdir())[2]
    whole = file.read_bytes()
    for size in (0, 100, 140, 300, 700, len(whole) - 30):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match="slice002") as caught:
            volumes.read(folder)
        assert "\n" not in str(caught.value)


def test_a_folder_of_nothing_is_no_series(tmp_path):
    (tmp_path / "s").mkdir()
    with pytest.raises(UserError, match="a folder without DICOM slices"):
        volumes.read(tmp_path / "s")
    with pytest.raises(UserError, match="found nothing there"):
        volumes.read(tmp_path / "no.dcm")


def test_missing_extra_is_one_clear_line(tmp_path, monkeypatch):
    folder = make_series(tmp_path / "s")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(UserError, match=r"found no module pydicom\. Install it: pip install 'segfocal\[dicom\]'"):
        volumes.read(folder)


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


def test_a_folder_is_a_series_unless_volumes_outnumber_its_slices(tmp_path):
    folder = make_series(tmp_path / "s", stored_values((9, 7, 2)))
    assert volumes.is_dicom(folder)
    shutil.copy(DEMO / "mr_d_image.nii.gz", folder / "mask.nii.gz")
    assert volumes.read(folder).array.shape == (9, 7, 2)
    shutil.copy(DEMO / "mr_d_image.nii.gz", folder / "other.nii.gz")
    assert not volumes.is_dicom(folder)


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
def test_damage_at_random_is_read_or_told(tmp_path, caplog):
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
