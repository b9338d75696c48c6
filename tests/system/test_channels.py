"""Several slices or several scans as the channels of one image, through the commands: trained, bundled, predicted."""

import nibabel as nib
import pytest

from segfocal.inference import bundle as bundles
from tests.system.commands import segfocal, small_training
from tests.system.test_bad_input import fails

UNET = ["model=unet", "task=semantic", "model.widths=[4,8,8]"]


def train(monkeypatch, data, folder, *options):
    small = [o for o in small_training(data, folder) if not (o.startswith("model.") and "model=unet" in options)]
    return segfocal(monkeypatch, "train", *small, "train.steps=2", "augment=light", "train.ema=0", *options)


def predict(monkeypatch, run, image, output, *options):
    return segfocal(monkeypatch, "predict", f"bundle={run}/bundle", f"input={image}", f"output={output}", *options)


@pytest.mark.parametrize("model", [UNET, []], ids=["unet", "sam_tiny"])
def test_neighbouring_slices_are_trained_and_predicted(monkeypatch, tmp_path, spheres, model):
    assert train(monkeypatch, spheres, tmp_path / "run", "data.neighbours=1", *model) == 0
    bundle = bundles.load(tmp_path / "run" / "bundle")
    assert (bundle.neighbours, bundle.inputs, bundle.model_config["channels"]) == (1, 3, 3)
    scan = spheres.parent / "images" / "held.nii.gz"
    assert predict(monkeypatch, tmp_path / "run", scan, tmp_path / "mask.nii.gz") == 0
    assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(scan).shape


@pytest.mark.parametrize("given", ["-1", "1.5", "true"])
def test_neighbours_are_a_whole_number(monkeypatch, tmp_path, spheres, capfd, given):
    fails(capfd, train(monkeypatch, spheres, tmp_path / "run", f"data.neighbours={given}"), "data.neighbours", "≥ 0")


def test_a_model_of_colours_takes_one_neighbour_on_each_side_and_no_more(monkeypatch, tmp_path, spheres, capfd):
    options = [
        f"data.root={spheres}",
        "data=csv",
        "data.window=[32,32]",
        "target=1",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    code = segfocal(monkeypatch, "train", "model=lite_medsam", "model.weights=null", "data.neighbours=2", *options)
    fails(capfd, code, "1 or 3 channels", "got 5", "data.neighbours")
