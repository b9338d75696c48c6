"""Names of volumes: a file's without its ending, and whether a place names one volume or many."""

from pathlib import Path

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io.volumes import is_many, laid, read_channels, stem
from tests.scans import AFFINES, affine_of, make_scan


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("a.nii", "a"),
        ("a.b.nii.gz", "a.b"),
        ("a.nii.nii.gz", "a.nii"),
        ("x/a.png", "a"),
        ("a.NII.GZ", "a"),
        ("a.mha", "a"),
    ],
)
def test_a_stem_is_the_name_without_its_ending_only(name, expected):
    assert stem(Path(name)) == expected


def test_a_folder_or_a_pattern_is_many_and_a_file_is_one(tmp_path):
    scan = make_scan(tmp_path / "scans" / "a[1].nii.gz", np.zeros((3, 4, 5), np.int16))
    assert is_many(tmp_path / "scans")
    assert is_many(tmp_path / "**" / "*.nii.gz")
    assert not is_many(scan)  # a file of that name is there: no pattern
    assert not is_many(tmp_path / "missing.nii.gz")


def test_a_folder_of_dicom_slices_is_one(tmp_path):
    pytest.importorskip("pydicom")
    from tests.dicom import make_series

    series = make_series(tmp_path / "study" / "series", np.zeros((5, 6, 4), np.int16))
    assert not is_many(series)
    assert is_many(series.parent)


@pytest.mark.parametrize("axes", ["LPS", "SAL"])
def test_a_channel_stored_along_other_axes_is_turned(tmp_path, axes):
    first, second = np.random.default_rng(0).integers(0, 99, (2, 6, 5, 4)).astype(np.int16)
    grid = Grid(shape=first.shape, affine=AFFINES["oblique"])
    turn = grid.orientation_to(axes)
    paths = [
        make_scan(tmp_path / "a_0000.nii.gz", first, grid.affine),
        make_scan(tmp_path / "a_0001.nii.gz", turn.apply(second), grid.oriented(turn).affine),
    ]
    both = read_channels(paths)
    np.testing.assert_array_equal(both.array, np.stack([first, second], -1))
    np.testing.assert_allclose(both.grid.affine, grid.affine, atol=1e-4)


def test_a_volume_elsewhere_is_refused_with_the_difference(tmp_path):
    volume = Volume(array=np.zeros((3, 4, 5)), grid=Grid(shape=(3, 4, 5), affine=np.eye(4)))
    moved = Grid(shape=(3, 4, 5), affine=affine_of(origin_mm=(2, 0, 0)))
    with pytest.raises(UserError, match=r"expected a mask there; found voxels up to 2 mm apart .* in m\.nii"):
        laid(volume, moved, "m.nii", expected="a mask there")
    turned = moved.oriented(moved.orientation_to("SPL"))
    with pytest.raises(UserError, match="voxels up to 2 mm apart"):
        laid(volume, turned, "m.nii")
