"""What a run says about itself while it trains, and the ways to try one before its time."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segfocal.engine.health import Watch
from segfocal.engine.validate import Score
from segfocal.metrics import Counts
from tests.system.commands import segfocal, small_training


@pytest.fixture
def said():
    return []


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told to."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def watch_of(said, **options):
    return Watch(said.append, device=torch.device("cpu"), **options)


def test_waiting_for_data_is_a_share_of_the_time_and_is_warned_about_once(said, clock):
    watch = watch_of(said)

    def slow():
        for _ in range(100):
            clock[0] += 0.3
            yield None

    for _ in watch.waiting_for(slow()):
        clock[0] += 0.7
        figures = watch.step(1.0, samples=8)
    assert figures["waiting_share"] == pytest.approx(0.3, abs=0.01)
    assert figures["samples_per_second"] == pytest.approx(8, rel=0.01)
    assert len(said) == 1
    assert "raise train.workers" in said[0]


def test_a_validation_does_not_count_as_training(said, clock):
    watch = watch_of(said)
    for _ in range(40):
        clock[0] += 1
        figures = watch.step(1.0, samples=4)
        with watch.paused():
            clock[0] += 50
    assert figures["samples_per_second"] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(("steady", "warnings"), [(True, 1), (False, 0)])
def test_a_growing_loss_is_warned_about_unless_the_loss_itself_follows_training(said, steady, warnings):
    watch = watch_of(said, steady=steady)
    for step in range(100):
        watch.step(1.0 if step < 50 else 5.0, samples=1)
    assert len(said) == warnings
    assert all("lower train.lr" in text for text in said)


def test_noise_is_no_growth(said):
    watch, rng = watch_of(said), np.random.default_rng(0)
    for step in range(300):
        watch.step(float(np.exp(-step / 100) * rng.uniform(0.5, 1.5)), samples=1)
    assert said == []


def test_background_everywhere_is_warned_about(said):
    watch = watch_of(said)
    score = {"case": "a", "structure": "liver", "prompt": "none"}
    watch.validated([Score(**score, counts=Counts(tp=1, fp=0, fn=9, tn=9))])
    assert said == []
    watch.validated([Score(**score, counts=Counts(tp=0, fp=0, fn=9, tn=9))])
    assert "background everywhere" in said[0]


def test_a_gradient_that_is_not_finite_stops_and_keeps_the_batch(spheres, tmp_path, monkeypatch, capfd):
    def broken(*_):
        return torch.tensor(float("inf"))

    monkeypatch.setattr("accelerate.Accelerator.clip_grad_norm_", broken)
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=2")) == 1
    error = capfd.readouterr().err
    assert "expected a finite gradient; found a norm of inf at step 1" in error
    kept = load_file(tmp_path / "run" / "failed_batch.safetensors")
    assert kept["image"].shape == kept["target"].shape == (4, 1, 32, 32)


def test_a_dry_run_says_what_a_run_would_take_and_leaves_nothing(spheres, tmp_path, monkeypatch, capfd):
    options = small_training(spheres, tmp_path / "run", "train.dry_run=true", "train.steps=1000")
    assert segfocal(monkeypatch, "train", *options) == 0
    shown = capfd.readouterr().out
    assert "1000 steps and their validations: about" in shown
    assert "GiB on cpu" in shown
    assert not list((tmp_path / "run").glob("*.json*"))


def test_overfitting_sees_one_batch_over_and_over(spheres, tmp_path, monkeypatch):
    seen = []
    from segfocal.engine.step import take_step

    def noted(run, batches, **options):
        seen.append(batches[0])
        return take_step(run, batches, **options)

    monkeypatch.setattr("segfocal.engine.loop.take_step", noted)
    options = ["train.overfit=1", "train.steps=3", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    assert torch.equal(seen[0].image, seen[2].image)
    assert seen[0].origins == seen[1].origins


@pytest.mark.slow
def test_a_profile_is_a_trace(spheres, tmp_path, monkeypatch):
    options = ["train.profile=true", "train.steps=13", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    assert json.loads((tmp_path / "run" / "trace.json").read_text())["traceEvents"]


def test_throughput_is_in_the_record(spheres, tmp_path, monkeypatch):
    options = ["train.steps=22", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert rows[0]["samples_per_second"] == ""
    assert float(rows[-1]["samples_per_second"]) > 0


def test_tensorboard_gets_the_record(spheres, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["train.tracker=tensorboard", "train.steps=3", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    (events,) = (tmp_path / "run" / "segfocal").glob("events.*")
    read = EventAccumulator(str(events))
    read.Reload()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    scalars = read.Scalars("loss")
    assert [event.step for event in scalars] == [1, 2, 3]
    assert [event.value for event in scalars] == pytest.approx([float(row["loss"]) for row in rows])


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_named(tracker, spheres, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("segfocal.engine.trackers.find_spec", lambda _: None)
    options = small_training(spheres, tmp_path / "run", f"train.tracker={tracker}", "train.steps=1")
    assert segfocal(monkeypatch, "train", *options) == 1
    assert f"pip install {tracker}" in capfd.readouterr().err
