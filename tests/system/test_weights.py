"""Training that starts from weights: taken once, recorded beside the run, and never needed again."""

import json

import pytest
import torch
from safetensors.torch import save_file

from segfocal import models
from segfocal.files import sha256_of
from segfocal.inference import bundle as bundles
from segfocal.models.weights import read
from segfocal.models.weights.published import cached_at
from tests.system.commands import segfocal, small_training


def test_a_run_starts_from_the_bundle_of_another_and_goes_on_without_it(run, spheres, tmp_path, monkeypatch, capfd):
    start, folder = tmp_path / "start.safetensors", tmp_path / "next"
    start.write_bytes((run / "bundle" / "model.safetensors").read_bytes())
    options = small_training(spheres, folder, f"model.weights={start}", "train.lr=1e-12", "train.ema=0")
    assert segfocal(monkeypatch, "train", *options, "train.steps=1") == 0
    assert "tensors loaded" in capfd.readouterr().out
    before, after = read(run / "bundle").tensors, read(folder / "bundle").tensors
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)  # one step at that rate
    facts = json.loads((folder / "weights.json").read_text())
    assert facts["loaded"] == len(before)
    assert facts["missing"] == []
    kept = bundles.load(folder / "bundle").training["weights"]
    assert kept["sha256"] == sha256_of(start)
    start.unlink()
    assert "weights" not in bundles.load(folder / "bundle").model_config
    assert segfocal(monkeypatch, "train", *options, "train.steps=2", f"resume={folder}") == 0


def test_licence_and_source_of_the_weights_stay_with_every_bundle_made_of_them(run, spheres, tmp_path, monkeypatch):
    origin = {"source": "a hospital", "package": "p==1", "licence": "CC-BY-NC-4.0", "source_sha256": "abc"}
    save_file(read(run / "bundle").tensors, tmp_path / "start.safetensors", metadata={**origin, "format": "pt"})

    def trained(folder, *options):
        given = small_training(spheres, tmp_path / folder, "train.ema=0", *options)
        assert segfocal(monkeypatch, "train", *given) == 0
        facts = bundles.load(tmp_path / folder / "bundle").training["weights"]
        return {key: facts[key] for key in origin}

    first = f"model.weights={tmp_path / 'start.safetensors'}"
    assert trained("one", first, "train.steps=1") == origin
    assert trained("two", first, "train.steps=2", f"resume={tmp_path / 'one'}") == origin  # reads no weights
    assert trained("three", f"model.weights={tmp_path / 'two' / 'bundle'}", "train.steps=1") == origin
    assert json.loads((tmp_path / "three" / "weights.json").read_text())["licence"] == "CC-BY-NC-4.0"
    whole = tmp_path / "again.safetensors"
    assert segfocal(monkeypatch, "weights", "convert", tmp_path / "three" / "bundle", whole) == 0
    assert {key: read(whole).metadata[key] for key in origin} == origin


def test_every_file_of_a_run_has_the_permissions_of_a_new_file(run, spheres, tmp_path, monkeypatch):
    scan = min((spheres.parent / "images").glob("*.nii*"))
    options = [f"bundle={run / 'bundle'}", f"input={scan}", f"output={tmp_path / 'mask.nii.gz'}"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    (tmp_path / "new").touch()
    files = [path for folder in (run.parent, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"model.safetensors", "bundle.json", "mask.nii.gz"}
    usual = (tmp_path / "new").stat().st_mode
    assert [path for path in files if path.stat().st_mode != usual] == []


def test_a_run_whose_weights_do_not_fit_is_refused_before_it_begins(run, spheres, tmp_path, monkeypatch, capfd):
    whole = read(run / "bundle").tensors
    torch.save({k: v for k, v in whole.items() if "iou_prediction_head" not in k}, tmp_path / "part.pth")
    options = small_training(spheres, tmp_path / "refused", f"model.weights={tmp_path / 'part.pth'}", "train.steps=1")
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "weights.allow=[mask_decoder.iou_prediction_head.layers.*]" in capfd.readouterr().err
    assert not (tmp_path / "refused" / "metrics.jsonl").exists()


def test_a_model_whose_weights_are_not_there_yet_says_how_to_get_them(spheres, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "empty"))
    options = ["data=csv", f"data.root={spheres}", "model=lite_medsam", "data.window=[256,256]", "target=1"]
    assert segfocal(monkeypatch, "train", *options, f"hydra.run.dir={tmp_path / 'run'}") == 1
    error = capfd.readouterr().err
    assert "segfocal weights get lite_medsam" in error
    assert "model.weights=null" in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_mobile_sam_is_trained_from_its_authors_file(spheres, tmp_path, monkeypatch, capfd):
    torch.manual_seed(0)
    before = models.mobile_sam(image_size=32).state_dict()
    torch.save(before | {"image_encoder.norm_head.bias": torch.zeros(320)}, tmp_path / "mobile_sam.pt")
    options = ["data=csv", f"data.root={spheres}", "intensity=percentiles", "target=1", f"cache={tmp_path}"]
    options += ["model=mobile_sam", f"model.weights={tmp_path / 'mobile_sam.pt'}", "train.steps=1", "train.ema=0"]
    options += ["data.window=[32,32]", "data.spacing_mm=[2,2]", "train.batch_size=2"]
    assert segfocal(monkeypatch, "train", *options, f"hydra.run.dir={tmp_path / 'run'}") == 0
    assert "left out, no answer depends on them: 1 tensor (image_encoder.norm_head.bias)" in capfd.readouterr().out
    facts = json.loads((tmp_path / "run" / "weights.json").read_text())
    assert (facts["loaded"], facts["unused"]) == (435, ["image_encoder.norm_head.bias"])
    after = read(tmp_path / "run" / "bundle").tensors
    assert after.keys() == before.keys()
    assert not torch.equal(
        after["image_encoder.patch_embed.seq.0.c.weight"], before["image_encoder.patch_embed.seq.0.c.weight"]
    )
    assert torch.equal(after["image_encoder.patch_embed.seq.0.bn.running_mean"], torch.zeros(32))  # frozen statistics


@pytest.mark.skipif(not cached_at("lite_medsam").is_file(), reason="no weights: run segfocal weights get lite_medsam")
def test_published_weights_are_fine_tuned(spheres, tmp_path, monkeypatch):
    options = ["data=csv", f"data.root={spheres}", "intensity=percentiles", "target=1", f"cache={tmp_path}"]
    options += ["model=lite_medsam", "model.image_size=32", "data.window=[32,32]", "data.spacing_mm=[2,2]"]
    options += ["model.freeze=[image_encoder.*]", "train.steps=1", "train.batch_size=2", "train.ema=0"]
    assert segfocal(monkeypatch, "train", *options, f"hydra.run.dir={tmp_path / 'run'}") == 0
    before, after = read(cached_at("lite_medsam")).tensors, read(tmp_path / "run" / "bundle").tensors
    encoder = [name for name in before if name.startswith("image_encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in encoder)  # the statistics of batch norm too
    assert any(not torch.equal(before[name], after[name]) for name in before if name not in encoder)
