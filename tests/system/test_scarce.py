"""Machines that lack something, and kills: a command works or says why not, and leaves nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segfocal.io import nifti
from segfocal.models import build
from tests.compare.runs import make_run
from tests.random_bundle import make_bundle
from tests.scans import make_sphere_cases
from tests.system.commands import SMALL

ROOT = Path(__file__).resolve().parents[2]
SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 64, "width": 48, "depth": 1, "decoder_width": 32}
IMAGE, LABEL = "data/images/c0.nii.gz", "data/labels/c0.nii.gz"
CASES = ["data=csv", "data.root=data/cases.csv"]
TRAIN = [*SMALL, "augment=light", "train.steps=2", "train.validate_every=0", "train.save_minutes=99"]
COMMANDS = {
    "compare": lambda out: ["compare", "runs", "--output", out],
    "convert": lambda out: ["weights", "convert", "weights.pt", f"{out}/weights.safetensors"],
    "doctor": lambda out: ["doctor", "data.root=data/cases.csv", f"output={out}", "fix=true", "workers=1"],
    "evaluate": lambda out: ["evaluate", f"prediction={LABEL}", f"reference={LABEL}", f"output={out}"],
    "fingerprint": lambda out: ["fingerprint", *CASES, "target=1", f"output={out}", "workers=1"],
    "prepare": lambda out: ["prepare", *CASES, "target=1", f"cache={out}", "workers=1"],
    "predict": lambda out: ["predict", "bundle=bundle", f"input={IMAGE}", f"output={out}/mask.nii.gz"],
    "export": lambda out: ["export", "bundle=bundle", f"scan={IMAGE}", f"output={out}"],
    "train": lambda out: ["train", *CASES, *TRAIN, f"hydra.run.dir={out}/run", f"cache={out}/prepared"],
}
QUICK = ("compare", "convert")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
KILLED = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
real = os.replace
def replace(*places, **options):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return real(*places, **options)
os.replace = replace
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def place(tmp_path):
    """A working folder with scans, runs, a bundle and a file of weights."""
    make_sphere_cases(tmp_path / "data", 2, splits=["train", "val"])
    make_bundle(tmp_path / "bundle")
    for number, name in enumerate("ab"):
        make_run(tmp_path / "runs" / name, {"x": 0.5}, f"train.lr={number}")
    torch.save(build(SAM).state_dict(), tmp_path / "weights.pt")
    return tmp_path


def call(place, command, *, kill=None, stdout=subprocess.PIPE, prepare=None, **environment):
    """Run a command in a folder, in a process of its own; kill: before so many files have come to their names."""
    script, *options = [str(ROOT / "scripts" / f"{command[0]}.py"), *command[1:]]
    start = [script] if kill is None else ["-c", KILLED, str(kill), script]
    return subprocess.run(
        [sys.executable, *start, *options], cwd=place, check=False, stdout=stdout, stderr=subprocess.PIPE, text=True,
        preexec_fn=prepare, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def check_ended_well(done):
    """The command worked, or said in one line why not."""
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if done.returncode:
        assert [line for line in done.stderr.splitlines() if line.startswith("error: ")], done.stderr


def check_sound(folder):
    """What lies there under its final name is whole."""
    for path in folder.rglob("*") if folder.is_dir() else ():
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name.endswith(".nii.gz"):
            nifti.read(path)
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".npy":
            np.load(path, mmap_mode="r")


def check_works_again(place, name):
    """The same command works: what it had claimed is its own."""
    again = call(place, COMMANDS[name]("out"))
    assert again.returncode == 0, again.stderr
    check_sound(place / "out")
    assert not list((place / "out").rglob(".segfocal_*")), "a record of what was claimed is left"


def inputs(place):
    """Return the bytes of every file but those of the output and, after a kill, nameless ones beside it."""
    files = [path for path in place.rglob("*") if path.is_file()]
    own = [path for path in files if not any(p == "out" or p.startswith(".") for p in path.relative_to(place).parts)]
    return {path: path.read_bytes() for path in own}


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def full_disk():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))


@pytest.mark.parametrize("name", ALL)
def test_few_open_files_and_a_home_that_cannot_be_written(name, place):
    before = inputs(place)
    done = call(place, COMMANDS[name]("out"), prepare=few_files, HOME="/proc/none")
    assert done.returncode == 0, done.stderr
    check_sound(place / "out")
    assert inputs(place) == before


@pytest.mark.parametrize("name", ALL)
def test_nobody_reads_what_is_printed(name, place):
    reader, writer = os.pipe()
    os.close(reader)
    done = call(place, COMMANDS[name]("out"), stdout=writer)
    os.close(writer)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    check_sound(place / "out")


@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_is_one_line_and_the_command_works_later(name, place):
    before = inputs(place)
    done = call(place, COMMANDS[name]("out"), prepare=full_disk)
    check_ended_well(done)
    assert done.returncode == 1
    check_sound(place / "out")
    assert inputs(place) == before
    check_works_again(place, name)
    assert inputs(place) == before


@pytest.mark.parametrize(
    ("name", "kill"),
    [("compare", 1)]
    + [
        pytest.param(name, kill, marks=pytest.mark.slow)
        for name in ("doctor", "evaluate", "export", "fingerprint", "prepare", "predict")
        for kill in ((0, 1, 2, 3, 4) if name == "evaluate" else (0, 1))
    ],
)
def test_a_kill_leaves_nothing_half_written_and_the_command_works_again(name, kill, place):
    before = inputs(place)
    done = call(place, COMMANDS[name]("out"), kill=kill)
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_sound(place / "out")
    check_works_again(place, name)
    assert inputs(place) == before
