"""A promptable model of volumes through the commands: trained, asked on whole scans, or refused in one line."""

import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.inference import bundle as bundles
from tests.system.commands import segfocal
from tests.system.test_bad_input import fails
from tests.system.test_volumes import train

SMALL = [
    "experiment=prompt_unet_3d",
    "train.minutes=null",
    "train.steps=60",
    "task.masks_per_image=1",
    "target=1",
    "intensity=percentiles",
    "data.spacing_mm=[4,3,3]",
    "data.window=[8,24,24]",
]


@pytest.fixture(scope="module")
def run(spheres, tmp_path_factory):
    """The directory of a short run on patches of anisotropic, oblique scans."""
    folder = tmp_path_factory.mktemp("volume_prompts") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert train(monkeypatch, spheres, folder, *SMALL, "model.widths=[16,16,32]") == 0
    return folder


def held(spheres):
    """Return the files of the held-out scan and of its label."""
    row = spheres.read_text().splitlines()[-1].split(",")
    return (spheres.parent / row[1], spheres.parent / row[2])


def test_one_click_segments_a_scan_it_was_not_trained_on(monkeypatch, tmp_path, spheres, run):
    bundle = bundles.load(run / "bundle")
    assert bundle.needs_prompts
    assert bundle.window == (8, 24, 24)
    assert bundle.model_config["image_size"] == [8, 24, 24]
    scan, label = held(spheres)
    truth = np.asarray(nib.load(label).dataobj) == 1
    middle = np.argwhere(truth).mean(0).round().astype(int).tolist()
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"point": middle}]))
    options = [f"bundle={run}/bundle", f"input={scan}", f"prompts={file}", f"output={tmp_path / 'mask.nii.gz'}"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(mask.affine, nib.load(scan).affine)
    found = np.asarray(mask.dataobj) == 1
    assert found[tuple(middle)]
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
    last = truth.any((0, 1)).nonzero()[0].max()
    file.write_text(json.dumps([{"point": middle}, {"absent": True, "slice": int(last)}]))
    assert segfocal(monkeypatch, "predict", *options, "overwrite=true") == 0
    assert not np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj)[..., last].any()


def test_whole_volumes_are_judged_and_slices_refused(monkeypatch, tmp_path, spheres, run, capfd):
    asked = [f"bundle={run}/bundle", "data=csv", f"data.root={spheres}", f"cache={tmp_path}/prepared"]
    folder = f"hydra.run.dir={tmp_path / 'asked'}"
    assert segfocal(monkeypatch, "evaluate-prompts", *asked, folder, "volumes=true") == 0
    found = json.loads((tmp_path / "asked" / "volumes.json").read_text())["scores"][0]
    assert 0.5 < found["dice_box"] <= 1
    assert found["dice_final"] > 0.7
    fails(capfd, segfocal(monkeypatch, "evaluate-prompts", *asked, f"{folder}_2"), "a model of slices", "volumes=true")


def test_its_halves_are_not_exported(monkeypatch, tmp_path, spheres, run, capfd):
    options = [f"bundle={run}/bundle", f"scan={held(spheres)[0]}", f"output={tmp_path / 'out'}", "format=onnx"]
    fails(capfd, segfocal(monkeypatch, "export", *options), "a model of slices", "8×24×24", "engine=openvino")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["model=sam_tiny", "data.window=[16,32,32]"], ["two numbers for this model", "model=prompt_unet"]),
        (["data.window=[32,32]"], ["data.spacing_mm of two numbers", "data.window of three numbers"]),
        (["data.window=[8,24,26]"], ["multiple of 16"]),
        (["task.first.flat=2", "data.window=[16,32,32]"], ["task.first.flat from 0 to 1"]),
    ],
)
def test_what_does_not_go_with_volumes_is_one_line(monkeypatch, tmp_path, spheres, capfd, options, words):
    fails(capfd, train(monkeypatch, spheres, tmp_path / "run", *SMALL, *options), *words)
