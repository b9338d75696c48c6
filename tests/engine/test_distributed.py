"""Two processes that train together make the losses, and so the model, of one with the same batch."""

import csv
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from segfocal.cli.app import conf_folder
from tests.system.commands import segfocal, small_training

pytestmark = pytest.mark.slow  # every run starts two interpreters more

SCRIPT = conf_folder().parent / "scripts" / "train.py"
ENDING = """
import sys
import torch
from accelerate import Accelerator
from segfocal.engine.build_run import disconnect

accelerator = Accelerator(cpu=True)
model = accelerator.prepare(torch.nn.Linear(8, 1))
model(torch.ones(2, 8)).sum().backward()
count = torch.ones(1)
sys.setswitchinterval(60)  # other threads run only where this one waits
torch.distributed.all_reduce(count)
disconnect(accelerator)
"""
SEMANTIC = ["model=unet", "task=semantic", "model.widths=[8,16,16]"]


def together(*options, script=SCRIPT):
    """Train in two processes of one machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, script, *options], env=environment, capture_output=True, text=True, timeout=300)


def losses(folder):
    return torch.tensor([float(row["loss"]) for row in csv.DictReader((folder / "metrics.csv").open())])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("promptable", ["task.rounds=2", "loss=focal+dice"]),
        ("promptable", ["loss=sam_med2d", "train.accumulate=2"]),
        ("promptable", ["loss=sam_med2d", "task=sam_med2d", "task.multimask=single", "task.recompute=true"]),
        ("semantic", [*SEMANTIC, "loss=focal+dice"]),
        ("semantic", [*SEMANTIC, "loss=focal", "loss.terms.focal.reduction=positives"]),
        ("semantic", [*SEMANTIC, "loss=focal", "loss.terms.focal.reduction=positives", "train.accumulate=2"]),
        ("semantic", [*SEMANTIC, "imbalance=hard_replay", "data.replay_every=2"]),
    ],
)
def test_two_processes_equal_one(kind, options, spheres, tmp_path, monkeypatch):
    settings = ["train.steps=6", "train.validate_every=3", "train.device=cpu", "train.batch_size=4", *options]
    small = {name: small_training(spheres, tmp_path / name, *settings) for name in ("one", "two")}
    if kind == "semantic":
        sam = ("model.width=", "model.depth=", "model.decoder_width=")
        small = {name: [o for o in chosen if not o.startswith(sam)] for name, chosen in small.items()}
    assert segfocal(monkeypatch, "train", *small["one"]) == 0
    run = together(*small["two"])
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("bundle: ") == 1  # only one of them speaks
    # rounding: gradients are summed in another order, and five optimiser steps carry that on
    torch.testing.assert_close(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5, atol=1e-5)
    one, two = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()


def test_processes_that_talked_can_end_at_once(tmp_path):
    script = tmp_path / "ending.py"
    script.write_text(ENDING)
    run = together(script=script)  # without the pause of `disconnect` it is aborted
    assert run.returncode == 0, run.stderr


def test_a_run_of_two_processes_can_be_resumed(spheres, tmp_path):
    settings = ["train.validate_every=0", "train.device=cpu", "resume=auto"]
    for steps in (2, 4):
        run = together(*small_training(spheres, tmp_path / "run", *settings, f"train.steps={steps}"))
        assert run.returncode == 0, run.stderr
    assert len(losses(tmp_path / "run")) == 4
