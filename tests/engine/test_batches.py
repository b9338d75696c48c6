"""The batches of a run: with hard-example replay what is drawn stays a function of the seed and the step."""

import csv
import shutil

import pytest
import torch

from segfocal.engine import loop
from tests.system.commands import segfocal, small_training

UNET = ["model=unet", "task=semantic", "model.widths=[8,16,16]", "imbalance=hard_replay", "data.replay_every=3"]
TRAIN = ["train.steps=8", "train.validate_every=5", "augment=none", "train.device=cpu"]


def trained(monkeypatch, spheres, folder, *options):
    """Train, and return the loss of every step."""
    sam = ("model.width=", "model.depth=", "model.decoder_width=")
    asked = [o for o in small_training(spheres, folder, *UNET, *TRAIN, *options) if not o.startswith(sam)]
    assert segfocal(monkeypatch, "train", *asked) == 0
    return [row["loss"] for row in csv.DictReader((folder / "metrics.csv").open())]


def test_a_resumed_run_draws_what_the_whole_one_did(spheres, tmp_path, monkeypatch):
    whole = trained(monkeypatch, spheres, tmp_path / "whole")
    assert len(whole) == 8
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / "step_000008")
    (tmp_path / "resumed" / "summary.json").unlink()
    assert trained(monkeypatch, spheres, tmp_path / "resumed", "resume=auto") == whole


@pytest.mark.slow
def test_loading_processes_change_nothing_and_replay_does(spheres, tmp_path, monkeypatch):
    whole = trained(monkeypatch, spheres, tmp_path / "whole")
    assert trained(monkeypatch, spheres, tmp_path / "workers", "train.workers=1") == whole
    uniform = trained(monkeypatch, spheres, tmp_path / "uniform", "data.replay=0")
    assert uniform != whole


@pytest.mark.slow
def test_promptable_models_can_replay_too(spheres, tmp_path, monkeypatch):
    options = ["data.replay=0.5", "data.replay_every=2", "train.steps=4", "train.validate_every=0", "task.rounds=2"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0


def test_overfitting_sees_one_batch_over_and_over(spheres, tmp_path, monkeypatch):
    seen = []
    batches_of = loop.batches_of

    def noted(*arguments):
        for batches in batches_of(*arguments):
            seen.append(batches[0])
            yield batches

    monkeypatch.setattr(loop, "batches_of", noted)
    options = ["train.overfit=1", "train.steps=3", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    assert torch.equal(seen[0].image, seen[2].image)
    assert seen[0].origins == seen[1].origins
