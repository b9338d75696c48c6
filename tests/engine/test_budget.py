"""A run of so many minutes: what it uses of them, what follows them, and what is left after a kill."""

import json
import math

import pytest
import torch
from torch import nn

from segfocal.engine.budget import Stopwatch, used_share
from segfocal.engine.lr_schedule import make_lr_schedule
from segfocal.engine.run import RunState
from segfocal.engine.settings import TrainingSettings
from tests.system.commands import segfocal, small_training

SIX_SECONDS = ["train.minutes=0.1", "train.validate_every=0", "train.steps=1"]


@pytest.fixture
def a_second_a_step(monkeypatch):
    """Count one second a step instead of the clock's."""

    def seconds(stopwatch):
        stopwatch.steps = getattr(stopwatch, "steps", 0) + 1
        return stopwatch.before + stopwatch.steps

    monkeypatch.setattr(Stopwatch, "seconds", seconds)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_used_share_is_of_the_steps_or_of_the_minutes():
    assert used_share(TrainingSettings(steps=200), step=50, seconds=1e6) == 0.25
    assert used_share(TrainingSettings(steps=200, minutes=2), step=50, seconds=30) == 0.25
    assert used_share(TrainingSettings(minutes=2), step=1, seconds=121) == 1


def test_the_learning_rate_follows_the_minutes_as_it_follows_the_steps():
    settings, state = TrainingSettings(minutes=1, lr=1.0, warmup=0.1), RunState()
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    factor = make_lr_schedule(optimizer, settings, state).lr_lambdas[0]
    rates = []
    for state.seconds in (0.0, 3.0, 6.0, 33.0, 60.0):
        rates.append(factor(1))
    assert rates == pytest.approx([0.1, 0.5, 1.0, 0.5, 0.0])


def test_a_run_ends_with_its_minutes_and_its_rates_follow_them(a_second_a_step, spheres, tmp_path, monkeypatch):
    gamma = "loss.terms.focal.gamma={linear:{0:0,1:3}}"
    options = small_training(spheres, tmp_path / "run", *SIX_SECONDS, gamma, "train.warmup=0")
    assert segfocal(monkeypatch, "train", *options) == 0
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["focal.gamma"] for row in rows] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5])
    cosine = [2e-3 * (1 + math.cos(math.pi * used / 6)) for used in range(6)]
    assert [row["lr"] for row in rows] == pytest.approx(cosine)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 6


def test_step_n_has_the_same_samples_by_minutes_as_by_steps(a_second_a_step, spheres, tmp_path, monkeypatch):
    by_steps = ["train.steps=6", "train.validate_every=0", "train.schedule=constant", "train.warmup=0"]
    by_minutes = [*SIX_SECONDS, "train.schedule=constant", "train.warmup=0"]
    for name, options in (("steps", by_steps), ("minutes", by_minutes)):
        assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / name, *options)) == 0
    losses = [[row["loss"] for row in rows_of(tmp_path / name)] for name in ("steps", "minutes")]
    assert losses[0] == losses[1]


def test_a_run_that_was_stopped_keeps_to_what_is_left_of_its_minutes(a_second_a_step, spheres, tmp_path, monkeypatch):
    options = small_training(spheres, tmp_path / "run", *SIX_SECONDS, "train.validate_every=2", "resume=auto")
    with monkeypatch.context() as broken:
        broken.setattr("segfocal.engine.loop.check_gradient", fails_after(4))
        assert segfocal(monkeypatch, "train", *options) == 1
    assert segfocal(monkeypatch, "train", *options) == 0
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def fails_after(steps):
    """Return a check of gradients that fails after so many steps, as a kill would."""

    def check(norm, batch, *, step, folder):
        if step > steps:
            raise RuntimeError("killed")

    return check


def test_without_a_loop_no_seconds_pass():
    class Alone:
        num_processes = 1

    watch = Stopwatch(Alone(), before=7.0)
    assert watch.seconds() == 7.0
    watch.start()
    assert watch.seconds() >= 7.0
