"""3-D patches through the commands: trained from the experiment, predicted on a real scan, or refused in one line."""

import nibabel as nib
import numpy as np
import pytest

from segfocal.cli.app import demo_data
from segfocal.inference import bundle as bundles
from tests.system.commands import segfocal
from tests.system.test_bad_input import fails

SMALL = ["model.widths=[4,4,8]", "train.steps=2", "train.batch_size=2", "train.ema=0", "target=1"]
TINY = ["data.window=[8,32,32]", "data.spacing_mm=[3,2,2]", "intensity=percentiles"]


def train(monkeypatch, data, folder, *options):
    given = ["data=csv", f"data.root={data}", f"hydra.run.dir={folder}", f"cache={folder.parent}/prepared"]
    return segfocal(monkeypatch, "train", *given, *options)


@pytest.fixture(scope="module")
def run(spheres, tmp_path_factory):
    """The directory of a short run on patches of anisotropic, oblique scans, validated on one of them."""
    folder = tmp_path_factory.mktemp("volumes") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        options = [
            "experiment=unet_3d",
            *SMALL,
            *TINY,
            "augment=strong",
            "augment.flip=[d,w]",
            "train.channels_last=true",
        ]
        assert train(monkeypatch, spheres, folder, *options) == 0
    return folder


def test_a_bundle_of_patches_segments_a_real_scan(monkeypatch, tmp_path, run):
    bundle = bundles.load(run / "bundle")
    assert bundle.window == (8, 32, 32)
    assert bundle.grid.spacing_mm == (3.0, 2.0, 2.0)
    assert bundle.model_config["dims"] == 3
    scan = f"{demo_data()}/ct_a_image.nii.gz"
    out = tmp_path / "mask.nii.gz"
    options = [f"bundle={run}/bundle", f"input={scan}", "overlap=0.25", "crop=body", "probabilities=true"]
    assert segfocal(monkeypatch, "predict", *options, f"output={out}") == 0
    mask, image = nib.load(out), nib.load(scan)
    assert mask.shape == image.shape == nib.load(tmp_path / "mask_label_1_probability.nii.gz").shape
    np.testing.assert_allclose(mask.affine, image.affine)
    assert set(np.unique(mask.dataobj)) <= {0, 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["data.window=[16,64,64]"], ["two numbers for this model", "got [16, 64, 64]", "model=unet task=semantic"]),
        (["data.window=[32,32]", "data.spacing_mm=[2,2,2]"], ["data.spacing_mm of two numbers", "task=semantic"]),
        (["experiment=unet_3d", "data.window=[8,32,32]"], ["multiples of 16"]),
        (["experiment=unet_3d", "data.window=[16,32,32,32]"], ["data.window", "two numbers"]),
        (["experiment=unet_3d", "data.spacing_mm=[2,0,2]"], ["data.spacing_mm", "three numbers > 0"]),
        (["experiment=unet_3d", "data.neighbours=1"], ["data.neighbours=0"]),
    ],
)
def test_what_does_not_go_with_volumes_is_one_line(monkeypatch, tmp_path, spheres, capfd, options, words):
    fails(capfd, train(monkeypatch, spheres, tmp_path / "run", "target=1", *options), *words)


def test_a_model_of_volumes_is_no_monai_bundle(monkeypatch, tmp_path, run, capfd):
    options = [f"bundle={run}/bundle", f"output={tmp_path / 'out'}", "format=monai_bundle"]
    fails(capfd, segfocal(monkeypatch, "export", *options), "a model of slices", "8×32×32", "format=onnx")


def test_samples_of_volumes_are_shown(monkeypatch, tmp_path, spheres):
    path = tmp_path / "samples.png"
    data = ["data=csv", f"data.root={spheres}", f"cache={tmp_path}/prepared", "target=1", *TINY]
    assert segfocal(monkeypatch, "show-augment", *data, "augment.flip=[d]", "samples=2", f"output={path}") == 0
    assert path.stat().st_size > 1000
