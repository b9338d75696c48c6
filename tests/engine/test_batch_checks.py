"""A loss or gradient that is not finite stops a run before it reaches the weights."""

import torch
from safetensors.torch import load_file

from tests.system.commands import segfocal, small_training


def test_a_loss_that_is_not_finite_stops_with_step_term_and_slices(spheres, tmp_path, monkeypatch, capfd):
    def broken(self, sums, pixels):
        return sums.positive.sum() * torch.nan

    monkeypatch.setattr("segfocal.losses.focal.FocalLoss.from_sums", broken)
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=2")) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: expected a finite loss; found nan at step 1, from focal")
    assert "slice" in error
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_gradient_that_is_not_finite_stops_and_keeps_the_batch(spheres, tmp_path, monkeypatch, capfd):
    def broken(*_):
        return torch.tensor(float("inf"))

    monkeypatch.setattr("accelerate.Accelerator.clip_grad_norm_", broken)
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=2")) == 1
    error = capfd.readouterr().err
    assert "expected a finite gradient; found a norm of inf at step 1" in error
    kept = load_file(tmp_path / "run" / "failed_batch.safetensors")
    assert kept["image"].shape == kept["target"].shape == (4, 1, 32, 32)
