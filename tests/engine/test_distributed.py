"""Two processes that train together make the losses, and so the model, of one with the same batch."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time

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
from segfocal.engine.connect import disconnect

accelerator = Accelerator(cpu=True)
model = accelerator.prepare(torch.nn.Linear(8, 1))
model(torch.ones(2, 8)).sum().backward()
count = torch.ones(1)
sys.setswitchinterval(60)  # other threads run only where this one waits
torch.distributed.all_reduce(count)
disconnect(accelerator)
"""
SEMANTIC = ["model=unet", "task=semantic", "model.widths=[8,16,16]"]


LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def together(*options, script=SCRIPT):
    """Train in two processes of one machine."""
    return subprocess.run([*LAUNCHER, script, *options], env=ONE_THREAD, capture_output=True, text=True, timeout=300)


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").open()))


def losses(folder):
    return torch.tensor([float(row["loss"]) for row in rows(folder)])


def dice(folder):
    return [float(row["val_dice"]) for row in rows(folder) if row["val_dice"]]


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
    settings += ["train.precision=fp32"]
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
    assert len(dice(tmp_path / "one")) == 2
    # of masks of some thousand voxels, of which a few lie at 0.5
    assert dice(tmp_path / "two") == pytest.approx(dice(tmp_path / "one"), abs=0.01)
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


def begun(folder, *options):
    """Start two processes as srun would, each told its place by variables; what they say goes into `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = ONE_THREAD | {name: str(value) for name, value in place.items()}
        with (folder / f"said_{rank}").open("w") as out:
            command = [sys.executable, SCRIPT, *options]
            started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
    return started


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals")
@pytest.mark.parametrize(
    ("how", "said"),
    [("SIGKILL", "found one that has gone"), ("SIGSTOP", "found one that has not answered for 20 seconds")],
)
def test_a_rank_that_dies_or_hangs_ends_the_other_in_one_line_and_the_run_goes_on(how, said, spheres, tmp_path):
    settings = ["train.device=cpu", "train.validate_every=2", "resume=auto", "train.process_timeout=20"]
    folder = tmp_path / "run"
    ranks = begun(tmp_path, *small_training(spheres, folder, *settings, "train.steps=500"))
    try:
        while not (folder / "checkpoints" / "step_000002").is_dir() and ranks[0].poll() is None:
            time.sleep(0.1)
        ranks[1].send_signal(getattr(signal, how))
        assert ranks[0].wait(120) == 1  # its patience, and what a busy machine takes to end it
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    text = (tmp_path / "said_0").read_text()
    assert text.count(f"error: expected 2 processes that train together to the end; {said}") == 1
    assert "a fault in segfocal" not in text
    made = len(losses(folder))
    run = together(*small_training(spheres, folder, *settings, f"train.steps={made + 2}"))
    assert run.returncode == 0, run.stderr
    assert [int(row["step"]) for row in rows(folder)] == list(range(1, made + 3))


def test_what_a_validation_finds_in_the_main_process_holds_in_all_after_a_resume(spheres, tmp_path):
    """The others had the count of stale validations of the checkpoint, and halved the rate at every validation."""
    settings = ["train.device=cpu", "train.schedule=plateau", "train.plateau=2", "train.validate_every=1"]
    for steps, given in ((3, [0.5, 0.4, 0.4]), (7, [0.6, 0.7, 0.8, 0.9])):
        script = tmp_path / f"train_{steps}.py"
        script.write_text(
            "import sys\n"
            "import segfocal.engine.validate_run as judged\n"
            f"dice = iter({given})\n"
            "judged.mean_dice = lambda *_, structure=None, **__: 0.5 if structure else next(dice)\n"
            "from segfocal.cli.train import main\n"
            "sys.exit(main())\n"
        )
        options = small_training(spheres, tmp_path / "run", *settings, f"train.steps={steps}", "resume=auto")
        run = together(*options, script=script)
        assert run.returncode == 0, run.stderr
    rates = [float(row["lr"]) for row in rows(tmp_path / "run")]
    assert rates[4:] == pytest.approx([rates[3] / 2] * 3)  # known in the step after the validation
