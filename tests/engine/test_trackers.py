"""Trackers that get the record too."""

import csv

import pytest

from tests.system.commands import segfocal, small_training


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
