"""Which parameters are trained, at which rate, with which decay."""

import csv
from collections import OrderedDict

import pytest
import torch
from torch import nn

from segfocal.engine.optimizer import lay_out_moments, make_optimizer
from segfocal.engine.settings import TrainingSettings
from tests.system.commands import segfocal, small_training

ORDERS = [torch.contiguous_format, torch.channels_last]


def test_biases_and_norms_are_not_decayed():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
    decayed, free = make_optimizer(model, TrainingSettings(weight_decay=0.1)).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.1
    assert [p.ndim for p in free["params"]] == [1, 1, 1]
    assert free["weight_decay"] == 0


def test_learning_rates_are_scaled_by_name_and_a_scale_of_zero_freezes():
    model = nn.Sequential(OrderedDict(encoder=nn.Linear(2, 3), head=nn.Linear(3, 1)))
    optimizer = make_optimizer(model, TrainingSettings(lr=0.5, lr_scales={"encoder*": 0.1, "encoder.bias": 0.0}))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model.encoder.weight)] == pytest.approx(0.05)
    assert rates[id(model.head.weight)] == 0.5
    assert not model.encoder.bias.requires_grad
    assert id(model.encoder.bias) not in rates


def test_a_pattern_that_matches_nothing_is_refused(spheres, tmp_path, monkeypatch, capfd):
    options = small_training(spheres, tmp_path / "run", "train.steps=1", "train.lr_scales={encodre:0.1}")
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "match none of" in capfd.readouterr().err


def some_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 20, 3), nn.GroupNorm(4, 20), nn.Conv2d(20, 5, 3), nn.Linear(7, 9))


def step(model, optimizer, seed):
    """Make a step by gradients of a seed; in the first ones the last layer has none."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model[: 3 if seed < 2 else 4].parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("memory", ORDERS)
def test_a_step_on_a_cpu_is_that_of_torch(name, memory):
    ours, plain = some_model().to(memory_format=memory), some_model()
    settings = TrainingSettings(optimizer=name, lr=0.01, weight_decay=0.1)
    on_cpu, torchs = make_optimizer(ours, settings, on_cpu=True), make_optimizer(plain, settings)
    for seed in range(6):
        step(ours, on_cpu, seed)
        step(plain, torchs, seed)
    for our, their in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(our.data, their.data, rtol=1e-5, atol=1e-6)  # one rounding an operation less


@pytest.mark.parametrize(("before", "after"), [ORDERS, ORDERS[::-1]])
def test_moments_of_another_memory_order_are_those_of_their_parameters(before, after):
    settings = TrainingSettings(lr=0.01)
    first, plain = some_model().to(memory_format=before), some_model()
    optimizer, torchs = make_optimizer(first, settings, on_cpu=True), make_optimizer(plain, settings)
    for seed in range(3):
        step(first, optimizer, seed)
        step(plain, torchs, seed)
    resumed = some_model().to(memory_format=after)
    resumed.load_state_dict(first.state_dict())
    again = make_optimizer(resumed, settings, on_cpu=True)
    again.load_state_dict(optimizer.state_dict())
    lay_out_moments(again)
    for seed in range(3, 6):
        step(resumed, again, seed)
        step(plain, torchs, seed)
    for our, their in zip(resumed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(our.data, their.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("options", "rate"), [({}, 3e-3), ({"optimizer": "sgd"}, 0.01), ({"lr": 0.2}, 0.2)])
def test_auto_is_the_models_own_rate_and_of_sgd_its_usual_one(options, rate):
    optimizer = make_optimizer(some_model(), TrainingSettings(**options), auto_lr=3e-3)
    assert {group["lr"] for group in optimizer.param_groups} == {rate}


def first_rate(folder):
    with (folder / "metrics.csv").open(newline="") as rows:
        return float(next(csv.DictReader(rows))["lr"])


def test_random_weights_begin_at_the_models_own_rate_and_given_ones_lower(spheres, tmp_path, monkeypatch):
    constant = ["train.steps=1", "train.validate_every=0", "train.warmup=0", "train.schedule=constant"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "a", *constant)) == 0
    assert first_rate(tmp_path / "a") == 4e-3
    given = f"model.weights={tmp_path / 'a' / 'bundle'}"
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "b", *constant, given)) == 0
    assert first_rate(tmp_path / "b") == 1e-3
