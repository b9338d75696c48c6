"""benchmarks/gpu.py on a machine without a GPU: its CPU half, its exit code, and what it says."""

import json
import math
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import gpu
import losses
import pytest
import torch
from gpu_checks import prediction, training
from gpu_checks.budget import Part
from gpu_checks.gauge import Gauge
from gpu_checks.row import Row

from segfocal.losses import fused

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run(folder, *arguments):
    """Run without a limit that a busy machine could reach; a later option counts."""
    return gpu.main(["--minutes", "600", "--steps", "2", "--out", str(folder), *arguments])


def results(folder):
    return json.loads((folder / "gpu_cpu_half.json").read_text())


@pytest.mark.parametrize(("verdict", "code"), [("fail", 1), ("pass", 0), ("measured", 0), ("left out", 0)])
def test_the_exit_code_is_1_where_a_correctness_line_fails(tmp_path, monkeypatch, capsys, verdict, code):
    parts = [Part(name="good", check=lambda *_: [Row(verdict="pass")])]
    parts += [Part(name="one", check=lambda *_: [Row(name="line", verdict=verdict, found="words", ratio=1.25)])]
    monkeypatch.setattr(gpu, "PARTS", parts)
    assert run(tmp_path) == code
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("not run on a GPU")
    assert printed[3].split() == ["1.25", *([] if verdict == "measured" else verdict.split()), "one,", "line", "words"]
    assert [row["verdict"] for row in results(tmp_path)["rows"]] == ["pass", verdict]
    assert "not run on a GPU" in results(tmp_path)["machine"]


def test_without_time_every_part_is_listed_as_left_out(tmp_path, capsys):
    assert run(tmp_path, "--minutes", "0") == 0
    rows = results(tmp_path)["rows"]
    assert [(row["name"], row["verdict"]) for row in rows] == [(part.name, "left out") for part in gpu.PARTS]


@pytest.mark.parametrize("part", ["unet", "scaler", "record", "overlap", "out of memory", "losses"])
def test_the_cpu_half_runs_the_code_of_the_gpu(tmp_path, monkeypatch, capsys, part):
    monkeypatch.setattr(fused, "compiled_form", lambda function: function)  # compiling takes a minute
    monkeypatch.setattr(losses, "WARM_UP", 1)
    monkeypatch.setattr(losses, "REPEATS", 2)
    assert run(tmp_path, "--parts", part) == 0, capsys.readouterr().out
    rows = results(tmp_path)["rows"]
    assert {row["name"].partition(",")[0] for row in rows} == {part}
    assert any(row["verdict"] == "pass" for row in rows)
    assert {row["name"] for row in rows if row["verdict"] == "left out"} == (
        {"unet, fp16"} if part == "unet" else set()
    )


@pytest.mark.slow
def test_the_whole_cpu_half_passes(tmp_path, capsys):
    assert run(tmp_path) == 0, capsys.readouterr().out
    assert {row["name"].partition(",")[0] for row in results(tmp_path)["rows"]} == {part.name for part in gpu.PARTS}


@pytest.mark.parametrize(
    ("steps", "dice", "verdict"), [(300, 0.881, "pass"), (300, 0.87, "fail"), (299, 0.5, "measured")]
)
def test_dice_is_judged_against_fp32_from_300_steps_on(budget, monkeypatch, steps, dice, verdict):
    made = {"train.precision=fp32": 0.9, "train.precision=bf16": dice}
    monkeypatch.setattr(training, "plan_for", lambda *options: options[-1])
    monkeypatch.setattr(training, "trained", lambda option, *_, **__: trained(steps, dice=made[option]))
    rows = {row.name: row for row in training.precisions_of("unet")(CPU, budget)}
    assert rows["bf16, Dice"].verdict == verdict
    assert rows["bf16"].verdict == "pass"


@pytest.mark.parametrize("found", [{"finite": False}, {"losses": (1.0, math.nan)}])
def test_training_that_is_not_finite_fails(budget, monkeypatch, found):
    monkeypatch.setattr(training, "plan_for", lambda *options: options[-1])
    monkeypatch.setattr(training, "trained", lambda *_, **__: replace(trained(2, dice=0.9), **found))
    assert training.precisions_of("unet")(CPU, budget)[0].verdict == "fail"


def trained(steps, *, dice):
    return training.Trained(
        losses=(1.0,) * steps, images_per_second=10.0, gauge=Gauge(), skipped=0, finite=True, digest="", dice=dice
    )


@pytest.mark.parametrize(
    ("seconds_a_step", "reason"),
    [(0.5, "the rest of 300 steps would take 130 s, 13 s are left"), (1.0, "stopped after 34")],
)
def test_a_training_that_does_not_fit_its_time_is_left_out(clock, budget, monkeypatch, seconds_a_step, reason):
    @contextmanager
    def ready_run(plan, folder):
        run = SimpleNamespace(plan=SimpleNamespace(settings=SimpleNamespace(steps=300)))
        yield SimpleNamespace(run=run, dataset=None)

    def train_steps(*_):
        while True:
            clock.now += seconds_a_step
            yield {"loss": 1.0}

    monkeypatch.setattr(training, "plan_for", lambda *_: None)
    monkeypatch.setattr(training, "ready_run", ready_run)
    monkeypatch.setattr(training, "train_steps", train_steps)
    row = training.precisions_of("unet")(CPU, budget)[0]
    assert (row.name, row.verdict) == ("fp32", "left out")
    assert reason in row.found


def test_the_distance_of_logits_is_a_share_of_the_largest_and_infinite_where_one_is_not_finite():
    true = torch.tensor([1.0, -4.0])
    assert prediction.distance(torch.tensor([1.5, -4.0]), true) == 0.125
    assert prediction.distance(torch.tensor([math.nan, -4.0]), true) == math.inf


@pytest.mark.slow
def test_a_function_apart_returns_its_value_and_its_error_is_one_line():
    cuda = torch.device("cuda")  # what asks for a process of its own; nothing is computed on it
    assert training.apart(cuda, math.factorial, 5) == 120
    with pytest.raises(RuntimeError, match="ValueError: factorial"):
        training.apart(cuda, math.factorial, -1)
