"""Frames of DICOM segmentations land on the voxels of their image, or are refused."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.grid import Grid, Volume  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from tests.io.dicom.drawn_labels import VALUES, label_map, other_type, write_seg  # noqa: E402


def test_segmentation_of_another_axis_order_lands_on_the_image(series, tmp_path):
    grid = dicom.read_grid(series)
    labels = label_map(grid)
    path = write_seg(tmp_path / "mask.dcm", series, labels)
    for frame in ("SPL", "RAS", "AIR"):
        turned = Volume(array=labels, grid=grid).oriented(frame)
        back = volumes.read_labels(path, on=turned.grid, values=VALUES)
        np.testing.assert_array_equal(back.array, turned.array)


def test_label_map_segmentation_is_read(series, tmp_path):
    grid = dicom.read_grid(series)
    numbers = np.random.default_rng(2).integers(0, 4, grid.shape).astype(np.uint8)
    path = other_type(series, tmp_path / "m.dcm", numbers.transpose(2, 1, 0), "LABELMAP")
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array, numbers)


def test_fractions_are_inside_from_one_half(series, tmp_path):
    grid = dicom.read_grid(series)
    shares = np.random.default_rng(2).integers(0, 256, grid.shape)
    stack = (shares / 255).astype(np.float32).transpose(2, 1, 0)[..., None]
    path = other_type(series, tmp_path / "m.dcm", stack, "FRACTIONAL")
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array, shares >= 128)


def test_segmentation_off_the_voxels_of_an_image_is_refused(series, tmp_path):
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "mask.dcm", series, label_map(grid))
    shifted, coarse, short = grid.affine.copy(), grid.affine.copy(), Grid(shape=(9, 7, 3), affine=grid.affine)
    shifted[0, 3] += 0.3
    coarse[:3, 0] *= 2
    for other in (Grid(shape=grid.shape, affine=shifted), Grid(shape=grid.shape, affine=coarse)):
        with pytest.raises(UserError, match="a segmentation on the voxels of its image"):
            volumes.read_labels(path, on=other)
    with pytest.raises(UserError, match="a segmentation inside its image"):
        volumes.read_labels(path, on=short)
    with pytest.raises(UserError, match="a DICOM label, which is drawn on an image"):
        volumes.read_labels(path)


def test_damaged_segmentation_is_one_clear_line(series, tmp_path):
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "mask.dcm", series, label_map(grid))
    whole = path.read_bytes()
    for size in (0, 200, 700, 1500, 3000, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"mask\.dcm") as caught:
            volumes.read_labels(path, on=grid)
        assert "\n" not in str(caught.value)
