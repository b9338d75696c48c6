"""DICOM slices make one grid, in order along their normal; a series that cannot is refused in one line."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import generate_uid  # noqa: E402

from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from tests.dicom import make_series, make_slice, stored_values  # noqa: E402


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
    "slope zero": ({"RescaleSlope": 0}, "a rescaling that keeps values apart; found .* slope 0.0"),
    "slope beyond float32": ({"RescaleSlope": 1e35}, "keeps values apart; found .* slope 1e"),
    "intercept that swallows values": (
        {"RescaleIntercept": 1e12},
        "keeps values apart; found .* intercept 1000000000000",
    ),
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


@pytest.mark.parametrize("off", [1e-9, -1e-9])
def test_slices_whose_directions_or_spacing_differ_by_rounding_make_one_series(tmp_path, off):
    """Either side of where two decimals of a direction, or four of a spacing, round to other digits."""
    cosine = 0.005
    row, other = [np.sqrt(1 - cosine**2), cosine], [np.sqrt(1 - (cosine + off) ** 2), cosine + off]

    def tilted(index, dataset):
        x, y = other if index == 2 else row
        dataset.ImageOrientationPatient = [x, y, 0.0, -y, x, 0.0]
        dataset.PixelSpacing = [0.80005 + (off if index == 2 else 0.0), 0.6]

    grid = dicom.read_grid(make_series(tmp_path / "s", change=tilted))
    assert grid.shape == (9, 7, 5)
    assert grid.spacing_mm == pytest.approx((0.6, 0.80005, 2.5))


def test_a_slice_of_another_direction_is_named(tmp_path):
    def turned(index, dataset):
        if index == 2:
            dataset.ImageOrientationPatient = [0.9998, 0.02, 0.0, -0.02, 0.9998, 0.0]

    with pytest.raises(
        UserError, match=r"one direction; found 4 of directions 1\.00 0\.00.*, 1 of directions 1\.00 0\.02"
    ):
        dicom.read_grid(make_series(tmp_path / "s", change=turned))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: None, "with equal contents in .*Take the copies out of the folder"),
        (lambda one: setattr(one, "SOPInstanceUID", "1.2.3"), "with equal contents in .*Take the copies out"),
        (
            lambda one: setattr(one, "PixelData", bytes(126)),
            "with different contents in .*Keep one time, phase or echo",
        ),
    ],
)
def test_of_two_slices_in_one_place_it_is_said_whether_one_is_a_copy(tmp_path, change, words):
    folder = make_series(tmp_path / "s")
    copy = pydicom.dcmread(folder / "slice001.dcm")
    change(copy)
    copy.save_as(folder / "slice001 (1).dcm")
    with pytest.raises(UserError, match=rf"found slice001 \(1\)\.dcm and slice001\.dcm both at .* mm, {words}"):
        volumes.read(folder)


def test_a_folder_copied_into_itself_names_the_first_pair_and_counts_the_others(tmp_path):
    folder = make_series(tmp_path / "s")
    for file in list(folder.iterdir()):
        (folder / f"{file.stem} - Copy.dcm").write_bytes(file.read_bytes())
    with pytest.raises(
        UserError, match=r"slice00\d - Copy\.dcm and slice00\d\.dcm .* equal contents, and 4 more such pairs"
    ):
        volumes.read(folder)
