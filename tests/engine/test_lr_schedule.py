"""The learning rate over a run."""

import csv
import itertools

import pytest
from torch import nn

from segfocal.engine.lr_schedule import make_lr_schedule
from segfocal.engine.optimizer import make_optimizer
from segfocal.engine.settings import TrainingSettings
from tests.system.commands import segfocal, small_training


def test_the_learning_rate_climbs_then_falls_to_zero_along_a_cosine():
    model, settings = nn.Linear(2, 2), TrainingSettings(steps=100, lr=0.5, warmup=0.1)
    optimizer = make_optimizer(model, settings)
    schedule = make_lr_schedule(optimizer, settings)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.05)
    assert rates[9] == pytest.approx(0.5)
    assert rates[55] == pytest.approx(0.25)
    assert rates[99] < 1e-3
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_the_poly_schedule_falls_to_zero_by_a_power():
    settings = TrainingSettings(steps=100, lr=1.0, warmup=0.0, schedule="poly")
    schedule = make_lr_schedule(make_optimizer(nn.Linear(1, 1), settings), settings)
    factor = schedule.lr_lambdas[0]
    assert factor(1) == 1
    assert factor(1 + 99 // 2) == pytest.approx((1 - 49 / 99) ** 0.9)
    assert factor(100) == 0


@pytest.mark.slow
def test_the_plateau_schedule_halves_the_rate_where_validation_stops_getting_better(spheres, tmp_path, monkeypatch):
    dice = iter([0.5, 0.6, 0.6, 0.6, 0.7, 0.7])
    monkeypatch.setattr("segfocal.engine.validate_run.mean_dice", lambda *_, **asked: 0.0 if asked else next(dice))
    options = ["train.schedule=plateau", "train.plateau=1", "train.warmup=0", "train.steps=6", "train.validate_every=1"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options, "train.lr=0.01")) == 0
    rates = [float(row["lr"]) for row in csv.DictReader((tmp_path / "run" / "metrics.csv").open())]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.0025], rel=1e-6)


@pytest.mark.slow
def test_a_plateau_is_remembered_by_resume(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr("segfocal.engine.validate_run.mean_dice", lambda *_, **__: 0.5)
    options = ["train.schedule=plateau", "train.plateau=1", "train.warmup=0", "train.validate_every=1", "resume=auto"]
    whole = small_training(spheres, tmp_path / "whole", *options, "train.steps=5")
    assert segfocal(monkeypatch, "train", *whole) == 0
    for steps in (3, 5):
        assert (
            segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "cut", *options, f"train.steps={steps}"))
            == 0
        )
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "cut")]
    assert [row["lr"] for row in rows[0]] == [row["lr"] for row in rows[1]]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
