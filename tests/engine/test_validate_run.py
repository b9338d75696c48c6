"""What a validation in the middle of a run decides."""

import json

from tests.system.commands import segfocal, small_training


def test_training_stops_early_when_validation_does_not_improve(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr("segfocal.engine.validate_run.mean_dice", lambda *_, **__: 0.25)
    options = ["train.steps=20", "train.validate_every=2", "train.patience=2"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped early"
    assert summary["steps"] == 6  # the first validation is the best there is, two more are not better


def test_keeping_the_best_takes_its_weights_and_says_so(spheres, tmp_path, monkeypatch):
    given = iter([0.9, 0.9, 0.1, 0.1])
    monkeypatch.setattr("segfocal.engine.validate_run.mean_dice", lambda *_, **__: next(given))
    options = ["train.steps=4", "train.validate_every=2", "train.keep=best"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["bundle"] == {"folder": "bundle", "weights": "best", "step": 2}
    best, bundle = (tmp_path / "run" / p / "model.safetensors" for p in ("checkpoints/best", "bundle"))
    assert best.read_bytes() == bundle.read_bytes()
