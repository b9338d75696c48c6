"""Machines that lack something, and kills: a command works or says why not, and leaves nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from safetensors.torch import load_file

from segfocal.io import nifti
from tests import ROOT
from tests.forked import die_before, run_command
from tests.system.every_command import COMMANDS, make_place

QUICK = ("compare",)
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
KILLS = {
    "bundle": (0, 1),
    "compare": (1,),
    "convert": (0,),
    "cross_validate": (0, 13, 36, 45, 50),  # splits, a bundle of a fold, the ensemble, the evaluation, the summary
    "doctor": (0, 1),
    "evaluate": (0, 1, 2, 3),
    "evaluate_prompts": (1, 5, 7),  # prepared slices, tables, the summary, which comes last
    "export": (0, 1),
    "fingerprint": (0, 1),
    "predict": (0, 1),
    "prepare": (0, 1),
}  # before so many files have come to their names


@pytest.fixture
def place(tmp_path):
    """A working folder with scans, runs, a bundle and a file of weights."""
    return make_place(tmp_path / "place")


def call(place, command, *, stdout=subprocess.PIPE, prepare=None, **environment):
    """Run a command in a folder, in a Python of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{command[0]}.py", *command[1:]],
        cwd=place,
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )


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


def call_forked(place, command, *, first=lambda: None):
    """Run a command in a folder, in a fork, which takes a tenth of the time."""
    return run_command(place, command, place.parent, first=first)


def check_works_again(place, name, call=call):
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


@pytest.mark.pictures  # which are files, too
@pytest.mark.parametrize(
    ("name", "kill"),
    [
        (name, kill) if (name, kill) == ("compare", 1) else pytest.param(name, kill, marks=pytest.mark.slow)
        for name, kills in KILLS.items()
        for kill in kills
    ],
)
def test_a_kill_leaves_nothing_half_written_and_the_command_works_again(name, kill, place):
    before = inputs(place)
    done = call_forked(place, COMMANDS[name]("out"), first=partial(die_before, kill, "replace"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_sound(place / "out")
    finished = {path: path.stat().st_mtime_ns for path in (place / "out").glob("cv/fold_*/summary.json")}
    check_works_again(place, name, call_forked)
    assert inputs(place) == before
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a fold that was done is done again"
