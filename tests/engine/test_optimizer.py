"""Which parameters are trained, at which rate, with which decay."""

from collections import OrderedDict

import pytest
from torch import nn

from segfocal.engine.optimizer import make_optimizer
from segfocal.engine.settings import TrainingSettings
from tests.system.commands import segfocal, small_training


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
