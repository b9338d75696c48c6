"""The parts of the training engine."""

import csv
import itertools
import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

from segfocal.engine.optimise import make_average, make_optimizer, make_schedule
from segfocal.engine.settings import Settings
from tests.system.commands import segfocal, small_training


def test_the_learning_rate_climbs_then_falls_to_zero_along_a_cosine():
    model, settings = nn.Linear(2, 2), Settings(steps=100, lr=0.5, warmup=0.1)
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings)
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


def test_biases_and_norms_are_not_decayed():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
    decayed, free = make_optimizer(model, Settings(weight_decay=0.1)).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.1
    assert [p.ndim for p in free["params"]] == [1, 1, 1]
    assert free["weight_decay"] == 0


def test_the_average_forgets_the_start_and_then_decays_as_asked():
    model = nn.Linear(1, 1, bias=False)
    average = make_average(model, 0.9)
    expected = None
    for count in range(200):
        nn.init.constant_(model.weight, float(count))
        average.update_parameters(model)
        decay = min(0.9, (1 + count) / (10 + count))
        expected = float(count) if expected is None else decay * expected + (1 - decay) * count
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 8, "accumulate": 3},
        {"lr": 0},
        {"ema": 1.0},
        {"precision": "fp8"},
        {"keep": "first"},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=f"train.{list(wrong)[-1]}"):
        Settings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"steps": "many"}, {"lr": "1e-3"}, {"workers": 1.5}, {"optimizer": 3}, {"steps": True}]
)
def test_settings_of_the_wrong_type_are_named(wrong):
    with pytest.raises(ValueError, match=f"train.{next(iter(wrong))} to be of type"):
        Settings(**wrong)


def test_a_loss_that_is_not_finite_stops_with_step_term_and_slices(spheres, tmp_path, monkeypatch, capfd):
    def broken(self, sums, pixels):
        return sums.positive.sum() * torch.nan

    monkeypatch.setattr("segfocal.losses.focal.FocalLoss.from_sums", broken)
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=2")) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: expected a finite loss; found nan at step 1, from focal")
    assert "slice" in error
    assert not (tmp_path / "run" / "bundle").exists()


def test_training_stops_early_when_validation_does_not_improve(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr("segfocal.engine.loop.mean_dice", lambda *_, **__: 0.25)
    options = ["train.steps=20", "train.validate_every=2", "train.patience=2"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped early"
    assert summary["steps"] == 6  # the first validation is the best there is, two more are not better


def test_keeping_the_best_takes_its_weights_and_says_so(spheres, tmp_path, monkeypatch):
    given = iter([0.9, 0.9, 0.1, 0.1])
    monkeypatch.setattr("segfocal.engine.loop.mean_dice", lambda *_, **__: next(given))
    options = ["train.steps=4", "train.validate_every=2", "train.keep=best"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["bundle"] == {"folder": "bundle", "weights": "best", "step": 2}
    best, bundle = (tmp_path / "run" / p / "model.safetensors" for p in ("checkpoints/best", "bundle"))
    assert best.read_bytes() == bundle.read_bytes()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(spheres, tmp_path, monkeypatch):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = small_training(spheres, tmp_path / name, "train.steps=2", f"seed={seed}")
        assert segfocal(monkeypatch, "train", *options) == 0
    a, b, c = ((tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_the_first_rows_of_a_record_can_be_read_while_the_run_goes_on(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in lines]


def test_learning_rates_are_scaled_by_name_and_a_scale_of_zero_freezes():
    model = nn.Sequential(OrderedDict(encoder=nn.Linear(2, 3), head=nn.Linear(3, 1)))
    optimizer = make_optimizer(model, Settings(lr=0.5, lr_scales={"encoder*": 0.1, "encoder.bias": 0.0}))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model.encoder.weight)] == pytest.approx(0.05)
    assert rates[id(model.head.weight)] == 0.5
    assert not model.encoder.bias.requires_grad
    assert id(model.encoder.bias) not in rates


def test_a_pattern_that_matches_nothing_is_refused(spheres, tmp_path, monkeypatch, capfd):
    options = small_training(spheres, tmp_path / "run", "train.steps=1", "train.lr_scales={encodre:0.1}")
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "match none of" in capfd.readouterr().err


def test_the_poly_schedule_falls_to_zero_by_a_power():
    settings = Settings(steps=100, lr=1.0, warmup=0.0, schedule="poly")
    schedule = make_schedule(make_optimizer(nn.Linear(1, 1), settings), settings)
    factor = schedule.lr_lambdas[0]
    assert factor(1) == 1
    assert factor(1 + 99 // 2) == pytest.approx((1 - 49 / 99) ** 0.9)
    assert factor(100) == 0


@pytest.mark.slow
def test_the_plateau_schedule_halves_the_rate_where_validation_stops_getting_better(spheres, tmp_path, monkeypatch):
    dice = iter([0.5, 0.6, 0.6, 0.6, 0.7, 0.7])
    monkeypatch.setattr("segfocal.engine.loop.mean_dice", lambda *_, **asked: 0.0 if asked else next(dice))
    options = ["train.schedule=plateau", "train.plateau=1", "train.warmup=0", "train.steps=6", "train.validate_every=1"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options, "train.lr=0.01")) == 0
    rates = [float(row["lr"]) for row in csv.DictReader((tmp_path / "run" / "metrics.csv").open())]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.0025], rel=1e-6)


@pytest.mark.slow
def test_a_plateau_is_remembered_by_resume(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr("segfocal.engine.loop.mean_dice", lambda *_, **__: 0.5)
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


@pytest.mark.slow
@pytest.mark.parametrize("option", ["train.channels_last=true", "train.deterministic=true", "train.tf32=false"])
def test_a_switch_for_speed_or_exactness_changes_no_result_on_a_cpu(option, spheres, tmp_path, monkeypatch):
    rows = []
    for name, extra in (("plain", []), ("switched", [option])):
        options = small_training(spheres, tmp_path / name, "train.steps=3", "train.validate_every=0", *extra)
        assert segfocal(monkeypatch, "train", *options) == 0
        rows.append([float(row["loss"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").open())])
    torch.use_deterministic_algorithms(False)
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)  # another memory order sums in another order


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sam_tiny", "unet"])
def test_a_compiled_network_trains_like_the_plain_one(model, spheres, tmp_path, monkeypatch):
    rows = []
    for name, extra in (("plain", []), ("compiled", ["train.compile=true"])):
        options = small_training(spheres, tmp_path / name, "train.steps=3", "train.validate_every=0", *extra)
        if model == "unet":
            options = [o for o in options if not o.startswith("model.")]
            options += ["model=unet", "task=semantic", "model.widths=[8,16,16]"]
        assert segfocal(monkeypatch, "train", *options) == 0
        rows.append([float(row["loss"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").open())])
    assert rows[1] == pytest.approx(rows[0], rel=1e-3)
