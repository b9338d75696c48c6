"""The files of a prediction agree with each other, and none replaces an input."""

import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.predict.options import OutputOptions, PredictOptions, PromptOptions
from segfocal.predict.outputs import check_outputs, report_path, structure_path
from tests.random_bundle import image
from tests.scans import AFFINES, make_scan
from tests.system.commands import segfocal


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_probabilities_and_separate_masks_agree_with_the_mask(random_bundle, tmp_path, monkeypatch):
    scan = make_scan(tmp_path / "ct.nii.gz", image(2), AFFINES["oblique"])
    mask = tmp_path / "m.nii.gz"
    options = [f"bundle={random_bundle}", f"input={scan}", f"output={mask}", "probabilities=true", "separate=true"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    labels = voxels(mask)
    liver, spleen = (voxels(tmp_path / f"m_{name}_probability.nii.gz") for name in ("liver", "spleen"))
    np.testing.assert_array_equal(voxels(tmp_path / "m_liver.nii.gz"), labels == 5)
    clear = (np.abs(liver - 0.5) > 1e-4) & (np.abs(spleen - 0.5) > 1e-4) & (np.abs(liver - spleen) > 1e-4)  # 16 bits
    expected = np.where(liver > spleen, np.where(liver > 0.5, 5, 0), np.where(spleen > 0.5, 1, 0))
    np.testing.assert_array_equal(labels[clear], expected[clear])
    assert nib.load(tmp_path / "m_liver_probability.nii.gz").affine == pytest.approx(nib.load(scan).affine)
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["files"]["liver"] == ["m_liver.nii.gz", "m_liver_probability.nii.gz"]
    assert report["mean_intensity"]["liver"] == pytest.approx(voxels(scan)[labels == 5].mean(), abs=0.01)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "mask.png", "mask.dcm"])
def test_what_belongs_to_a_mask_is_named_after_it(tmp_path, name):
    ending = name.removeprefix("mask")
    assert report_path(tmp_path / name) == tmp_path / "mask.json"
    assert structure_path(tmp_path / name, "left kidney/2") == tmp_path / f"mask_left_kidney_2{ending}"


@pytest.mark.parametrize("mask", ["ct.nii.gz", "prompts.nii.gz"])
def test_no_input_is_replaced_whatever_is_allowed(tmp_path, mask):
    scan = make_scan(tmp_path / "ct.nii.gz", image(0))
    options = PredictOptions(
        bundles=(tmp_path / "bundle",),
        inputs=(scan,),
        outputs=OutputOptions(mask=tmp_path / mask, overwrite=True),
        prompts=PromptOptions(file=tmp_path / "prompts.json"),
    )
    with pytest.raises(UserError, match="the same file as input and output"):
        check_outputs(options)
