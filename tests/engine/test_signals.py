"""A signal asks a run to stop: it saves first, and goes on from there."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from segfocal.engine.signals import StopRequest
from tests.system.commands import segfocal, small_training


def same_weights(one, other):
    first, second = (load_file(run / "bundle" / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "name", ["SIGTERM", *[pytest.param(name, marks=pytest.mark.slow) for name in ("SIGUSR1", "SIGINT")]]
)
def test_a_signal_saves_and_resume_auto_goes_on_bit_for_bit(name, spheres, tmp_path, monkeypatch, capfd):
    settings = ["train.steps=5", "train.validate_every=0", "resume=auto"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "whole", *settings)) == 0

    with monkeypatch.context() as interrupted:
        ask = lambda *_, **__: os.kill(os.getpid(), getattr(signal, name))  # noqa: E731
        interrupted.setattr("segfocal.engine.loop.check_loss", ask)  # called within the first step
        code = segfocal(interrupted, "train", *small_training(spheres, tmp_path / "cut", *settings))
    assert code == 128 + getattr(signal, name)
    assert f"stopped by {name} after step 1" in capfd.readouterr().err
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "cut", *settings)) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


def test_a_second_interrupt_is_not_waited_for():
    before, stop = signal.getsignal(signal.SIGINT), StopRequest()

    def ask_twice():
        with stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.name == "SIGINT"
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ask_twice()
    assert signal.getsignal(signal.SIGINT) is before
