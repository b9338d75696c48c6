"""The Python interface segments as the command does, whatever a scan is given as, and gives back the same kind."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import segfocal
from segfocal.errors import UserError
from segfocal.structure import Structure
from tests.random_bundle import image, make_bundle
from tests.scans import affine_of, make_scan
from tests.system.commands import segfocal as command

ONE = {"_target_": "segfocal.models.UNet", "classes": 1, "widths": [4, 8, 8]}
OBLIQUE = affine_of(spacing_mm=(1.5, 1.1, 2.5), axes="LPS", degrees=(9.0, -6.0, 14.0))


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return make_scan(tmp_path_factory.mktemp("scan") / "ct.nii.gz", image(1), OBLIQUE, sform_code=2, qform_code=1)


@pytest.fixture(scope="module")
def model(random_bundle):
    return segfocal.load(random_bundle, engine="torch", device="cpu")


def test_importing_loads_no_torch():
    asked = "import sys, segfocal; print('torch' in sys.modules, 'load' in dir(segfocal), segfocal.__version__)"
    out = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert out == ["False", "True", segfocal.__version__]


def test_every_public_name_is_there_and_no_other():
    assert {name: getattr(segfocal, name).__name__.rpartition(".")[2] for name in segfocal.__all__[:3]} == {
        name: name for name in segfocal.__all__[:3]
    }
    assert all(hasattr(segfocal, name) for name in segfocal.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = segfocal.lode


def test_a_path_gives_the_commands_mask(scan, model, random_bundle, tmp_path, monkeypatch):
    output = tmp_path / "mask.nii.gz"
    options = (f"bundle={random_bundle}", f"input={scan}", f"output={output}", "engine=torch", "device=cpu")
    assert command(monkeypatch, "predict", *options) == 0
    written, mask = nib.load(output), model.segment(scan)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(written.dataobj))
    np.testing.assert_array_equal(mask.affine, written.affine)
    assert np.unique(np.asarray(mask.dataobj)).tolist() == [0, 1, 5]
    for field in ("sform_code", "qform_code", "xyzt_units", "datatype", "srow_x", "quatern_b"):
        np.testing.assert_array_equal(mask.header[field], written.header[field], err_msg=field)


def test_image_array_and_volume_give_the_mask_of_the_path(scan, model):
    expected, read = model.segment(scan), nib.load(scan)
    of_image = model.segment(read)
    np.testing.assert_array_equal(np.asarray(of_image.dataobj), np.asarray(expected.dataobj))
    assert of_image.header["sform_code"] == 2
    np.testing.assert_array_equal(of_image.affine, read.affine)
    array = np.asarray(read.dataobj)
    of_array = model.segment(array, read.affine)
    assert isinstance(of_array, np.ndarray)
    np.testing.assert_array_equal(of_array, np.asarray(expected.dataobj))
    volume = segfocal.Volume(array=array, grid=segfocal.Grid(shape=array.shape, affine=read.affine))
    of_volume = model.segment(volume)
    assert of_volume.grid is volume.grid
    np.testing.assert_array_equal(of_volume.array, of_array)


def test_an_image_whose_affine_was_changed_is_where_it_says(scan, model):
    image_ = nib.load(scan)
    moved = nib.Nifti1Image(image_.dataobj, image_.affine, image_.header)
    moved.affine[:3, 3] += 20.0
    np.testing.assert_allclose(model.segment(moved).affine, moved.affine, atol=1e-4)  # float32 of the header


def test_one_call_is_load_and_segment(scan, model, random_bundle):
    mask = segfocal.segment(scan, random_bundle, engine="torch", device="cpu")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(model.segment(scan).dataobj))


def test_probabilities_above_one_half_are_the_mask_of_a_single_structure(scan, tmp_path):
    liver = Structure(name="liver", value=5)
    folder = make_bundle(tmp_path / "one", config=ONE, structures=(liver,))
    one = segfocal.load(folder, engine="torch", device="cpu")
    found = one.probabilities(scan)
    assert list(found) == ["liver"] == list(one.structures)
    inside = np.asarray(one.segment(scan).dataobj) == 5
    assert 0 < np.count_nonzero(inside) < inside.size
    clear = np.abs(found["liver"] - 0.5) > 1 / 65535  # to which they are kept
    np.testing.assert_array_equal(inside[clear], found["liver"][clear] > 0.5)


def test_a_model_says_what_it_is(model):
    assert repr(model).startswith("<segfocal.Model of liver 5, spleen 1 on cpu by torch")


def test_values_of_another_unit_are_warned_of_where_the_scan_was_given(model):
    shifted = np.random.default_rng(0).integers(900, 1200, (24, 22, 6)).astype(np.int16)
    with pytest.warns(UserWarning, match="Another unit") as told:
        model.segment(shifted, np.diag([2.0, 2.0, 3.0, 1.0]))
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("given", "affine", "message"),
    [
        (3, None, "found int"),
        (np.zeros((4, 4, 4)), None, "expected affine= for an array"),
        (np.zeros((4, 4)), np.eye(4), "found shape \\(4, 4\\)"),
        (np.full((4, 4, 4), np.nan), np.eye(4), "64 NaN or infinite in an array"),
        (np.zeros((4, 4, 4)), np.zeros((4, 4)), "singular"),
        (np.zeros((4, 4, 4)), np.eye(3), "shape \\(3, 3\\)"),
        ("nowhere.nii.gz", None, "no such file"),
        ("ct.nii.gz", np.eye(4), "affine= with an array alone"),
        (np.zeros((4, 4, 4, 2)), np.eye(4), "a scan of 1 channel"),
    ],
)
def test_what_is_no_scan_is_one_line(model, given, affine, message):
    with pytest.raises(UserError, match=message):
        model.segment(given, affine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 1.5}, "overlap in \\[0,1\\)"),
        ({"overlaps": 0.5}, "overlaps"),
        ({"postprocess": "yes"}, "postprocess auto or none"),
        ({"device": "tpu9"}, "device auto, cpu or cuda"),
    ],
)
def test_an_option_that_is_none_is_one_line(random_bundle, options, message):
    with pytest.raises(UserError, match=message):
        segfocal.load(random_bundle, **options)
    with pytest.raises(UserError, match="a bundle"):
        segfocal.load(random_bundle / "nowhere")
