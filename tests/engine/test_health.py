"""What a run says about itself while it trains."""

import numpy as np
import pytest
import torch

from segfocal.engine.health import Health
from segfocal.engine.validate import Score
from segfocal.metrics import Counts


@pytest.fixture
def said():
    return []


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told to."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def health_of(said, **options):
    return Health(said.append, device=torch.device("cpu"), **options)


def test_waiting_for_data_is_a_share_of_the_time_and_is_warned_about_once(said, clock):
    health = health_of(said)

    def slow():
        for _ in range(100):
            clock[0] += 0.3
            yield None

    for _ in health.waiting_for(slow()):
        clock[0] += 0.7
        measured = health.step(1.0, samples=8)
    assert measured["waiting_share"] == pytest.approx(0.3, abs=0.01)
    assert measured["samples_per_second"] == pytest.approx(8, rel=0.01)
    assert len(said) == 1
    assert "raise train.workers" in said[0]


def test_a_validation_does_not_count_as_training(said, clock):
    health = health_of(said)
    for _ in range(40):
        clock[0] += 1
        measured = health.step(1.0, samples=4)
        with health.paused():
            clock[0] += 50
    assert measured["samples_per_second"] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(("steady", "warnings"), [(True, 1), (False, 0)])
def test_a_growing_loss_is_warned_about_unless_the_loss_itself_follows_training(said, steady, warnings):
    health = health_of(said, steady=steady)
    for step in range(100):
        health.step(1.0 if step < 50 else 5.0, samples=1)
    assert len(said) == warnings
    assert all("lower train.lr" in text for text in said)


def test_noise_is_no_growth(said):
    health, rng = health_of(said), np.random.default_rng(0)
    for step in range(300):
        health.step(float(np.exp(-step / 100) * rng.uniform(0.5, 1.5)), samples=1)
    assert said == []


def test_background_everywhere_is_warned_about(said):
    health = health_of(said)
    score = {"case": "a", "structure": "liver", "prompt": "none"}
    health.validated([Score(**score, counts=Counts(tp=1, fp=0, fn=9, tn=9))])
    assert said == []
    health.validated([Score(**score, counts=Counts(tp=0, fp=0, fn=9, tn=9))])
    assert "background everywhere" in said[0]
