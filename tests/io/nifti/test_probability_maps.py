"""Probability maps come slab by slab, whole, scaled as their header says, and in [0,1]."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.io.nifti import probability_maps
from segfocal.io.nifti.probability_maps import open_maps
from tests.scans import AFFINES, make_scan

SHAPE, AFFINE = (7, 5, 11), AFFINES["oblique"]


def together(maps):
    found = np.full((*maps.grid.shape, maps.maps), np.nan, np.float32)
    for k, z, values in maps.slabs():
        assert np.isnan(found[:, :, z, k]).all()
        found[:, :, z, k] = values
    return found


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("k", [(), (3,)])
def test_slabs_are_what_nibabel_reads(tmp_path, ending, k, monkeypatch):
    monkeypatch.setattr(probability_maps, "_SLAB_BYTES", 4 * 7 * 5 * 2)  # two slices of float32
    values = np.random.default_rng(0).random((*SHAPE, *k)).astype(np.float32)
    path = make_scan(tmp_path / f"maps{ending}", values, AFFINE)
    maps = open_maps(path)
    assert (maps.grid.shape, maps.maps) == (SHAPE, k[0] if k else 1)
    assert np.array_equal(maps.grid.affine, nib.load(path).affine)
    assert np.array_equal(together(maps), values.reshape(*SHAPE, -1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_whole_numbers_are_scaled(tmp_path, order):
    raw = np.random.default_rng(0).integers(0, 256, SHAPE)
    image = nib.Nifti1Image(raw.astype("i2"), AFFINE, nib.Nifti1Header(endianness=order))
    image.header.set_data_dtype(f"{order}i2")
    image.header.set_slope_inter(1 / 255, 0.0)
    image.to_filename(tmp_path / "maps.nii")
    expected = np.asarray(nib.load(tmp_path / "maps.nii").dataobj, np.float32)
    assert together(open_maps(tmp_path / "maps.nii"))[..., 0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan, np.inf])
def test_what_is_no_probability_is_refused(tmp_path, wrong):
    values = np.full(SHAPE, 0.5, np.float32)
    values[3, 2, 7] = wrong
    with pytest.raises(UserError, match="from 0 to 1"):
        together(open_maps(make_scan(tmp_path / "maps.nii.gz", values, AFFINE)))


def test_files_that_are_no_maps_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_maps(tmp_path / "none.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="damaged"):
        open_maps(tmp_path / "bad.nii.gz")
    with pytest.raises(UserError, match=r"\(7, 5\)"):
        open_maps(make_scan(tmp_path / "flat.nii", np.zeros((7, 5), np.float32), AFFINE))
    path = make_scan(tmp_path / "maps.nii", np.zeros(SHAPE, np.float32), AFFINE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="it promises 1892 bytes"):
        open_maps(path)
    whole = gzip.compress(path.read_bytes())
    (tmp_path / "short.nii.gz").write_bytes(whole[: len(whole) - 20])
    with pytest.raises(UserError, match=r"damaged|map 0"):
        together(open_maps(tmp_path / "short.nii.gz"))
