"""Training that starts from weights: taken once, recorded beside the run, and never needed again."""

import json

import pytest
import torch

from segfocal.inference import bundle as bundles
from segfocal.models.weights import read
from tests.system.commands import segfocal, small_training


@pytest.fixture
def train(spheres, tmp_path, monkeypatch):
    def start(folder, *options):
        return segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / folder, "train.workers=0", *options))

    return start


def test_a_run_starts_from_the_bundle_of_another(run, train, tmp_path, capfd):
    start = f"model.weights={run / 'bundle'}"
    assert train("next", start, "train.steps=1", "train.lr=1e-12", "train.ema=0") == 0
    assert "tensors loaded" in capfd.readouterr().out
    before, after = (read(folder / "bundle").tensors for folder in (run, tmp_path / "next"))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)  # one step at that rate
    facts = json.loads((tmp_path / "next" / "weights.json").read_text())
    assert facts["loaded"] == len(before)
    assert facts["missing"] == []


def test_a_bundle_and_a_resumed_run_do_not_need_the_file(run, train, tmp_path):
    copy = tmp_path / "start.safetensors"
    copy.write_bytes((run / "bundle" / "model.safetensors").read_bytes())
    assert train("first", f"model.weights={copy}", "train.steps=1") == 0
    copy.unlink()
    assert "weights" not in bundles.load(tmp_path / "first" / "bundle").model_config
    again = [f"model.weights={copy}", "train.steps=2", f"resume={tmp_path / 'first'}"]
    assert train("first", *again) == 0


def test_weights_that_lack_tensors_start_a_run_only_when_that_is_allowed(run, train, tmp_path, capfd):
    whole = read(run / "bundle").tensors
    torch.save({k: v for k, v in whole.items() if "iou_prediction_head" not in k}, tmp_path / "part.pth")
    start = f"model.weights={tmp_path / 'part.pth'}"
    assert train("refused", start, "train.steps=1") == 1
    assert "weights.allow=[mask_decoder.iou_prediction_head.layers.*]" in capfd.readouterr().err
    assert not (tmp_path / "refused" / "metrics.jsonl").exists()
    assert train("allowed", start, "train.steps=1", "weights.allow=[mask_decoder.iou_prediction_head.*]") == 0
    assert len(json.loads((tmp_path / "allowed" / "weights.json").read_text())["missing"]) == 6


def test_a_prior_does_not_overwrite_weights_that_have_its_bias(train, tmp_path):
    assert train("first", "model.prior=0.3", "train.steps=1") == 0
    start = f"model.weights={tmp_path / 'first' / 'bundle'}"
    assert train("second", start, "model.prior=0.01", "train.steps=1", "train.lr=1e-12", "train.ema=0") == 0
    before, after = (read(tmp_path / name / "bundle").tensors["output_bias"] for name in ("first", "second"))
    torch.testing.assert_close(after, before)


def test_a_model_whose_weights_are_not_there_yet_says_how_to_get_them(spheres, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "empty"))
    options = ["data=csv", f"data.root={spheres}", "model=lite_medsam", "data.window=[256,256]", "target=1"]
    assert segfocal(monkeypatch, "train", *options, f"hydra.run.dir={tmp_path / 'run'}") == 1
    error = capfd.readouterr().err
    assert "segfocal weights get lite_medsam" in error
    assert "model.weights=null" in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
