"""A run's state survives kills, full disks, damaged files and signals, and goes on as if nothing had happened."""

import csv
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from segfocal.cli.app import conf_folder
from segfocal.engine import checkpoint
from segfocal.errors import UserError
from tests.system.commands import segfocal, small_training

SCRIPT = conf_folder().parent / "scripts" / "train.py"


@pytest.fixture
def accelerator():
    model = torch.nn.Linear(3, 2)
    made = Accelerator(cpu=True)
    made.prepare(model, torch.optim.AdamW(model.parameters()))
    yield made
    AcceleratorState._reset_state(reset_partial_state=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same_weights(one, other):
    first, second = (load_file(run / "bundle" / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_others_may_read_a_checkpoint_as_any_other_file(accelerator, tmp_path):
    before = os.umask(0o022)
    try:
        assert checkpoint.save(accelerator, tmp_path / "checkpoints", step=5, keep=1)
    finally:
        os.umask(before)
    files = list((tmp_path / "checkpoints" / "step_000005").iterdir())
    assert "model.safetensors" in [file.name for file in files]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o644}


def test_only_the_last_checkpoints_are_kept(accelerator, tmp_path):
    for step in (5, 10, 15):
        assert checkpoint.save(accelerator, tmp_path / "checkpoints", step=step, keep=2)
    assert names(tmp_path / "checkpoints") == ["step_000010", "step_000015"]
    assert checkpoint.find(tmp_path).name == "step_000015"
    assert checkpoint.find(tmp_path / "checkpoints" / "step_000010").name == "step_000010"


@pytest.mark.parametrize("spoil", ["truncate", "flip", "remove", "no list"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(spoil, accelerator, tmp_path):
    for step in (1, 2):
        checkpoint.save(accelerator, tmp_path / "checkpoints", step=step, keep=2)
    file = tmp_path / "checkpoints" / "step_000002" / ("checksums.json" if spoil == "no list" else "model.safetensors")
    content = bytearray(file.read_bytes())
    if spoil in ("remove", "no list"):
        file.unlink()
    elif spoil == "truncate":
        file.write_bytes(content[:-7])
    else:
        content[-3] ^= 1
        file.write_bytes(content)
    with pytest.warns(UserWarning, match=r"damaged checkpoint.*step_000002"):
        assert checkpoint.find(tmp_path).name == "step_000001"


def test_going_back_drops_the_later_checkpoints_and_damaged_ones_do_not_count(accelerator, tmp_path):
    folder = tmp_path / "checkpoints"
    for step in (100, 200, 1_000_000):
        checkpoint.save(accelerator, folder, step=step, keep=3)
    assert checkpoint.find(tmp_path).name == "step_1000000"
    (folder / "step_000200" / "model.safetensors").write_bytes(b"spoilt")
    checkpoint.save(accelerator, folder, step=300, keep=2)
    assert names(folder) == ["step_000100", "step_000300"]


def test_damage_that_leaves_no_trace_is_found_by_resume_and_not_looked_for_at_each_save(accelerator, tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint.save(accelerator, folder, step=1, keep=3)
    checkpoint.save(accelerator, folder, step=2, keep=3)
    file = folder / "step_000002" / "model.safetensors"
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-3] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    checkpoint.save(accelerator, folder, step=3, keep=2)
    assert names(folder) == ["step_000002", "step_000003"]
    shutil.rmtree(folder / "step_000003")
    with (
        pytest.warns(UserWarning, match=r"damaged checkpoint.*step_000002: model.safetensors has changed"),
        pytest.raises(UserError, match="damaged ones only"),
    ):
        checkpoint.find(tmp_path)


def test_a_copied_checkpoint_counts_although_its_files_are_newer_than_their_list(accelerator, tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint.save(accelerator, folder, step=1, keep=2)
    listed = folder / "step_000001" / "checksums.json"
    os.utime(listed, ns=(0, 0))
    checkpoint.save(accelerator, folder, step=2, keep=2)
    assert names(folder) == ["step_000001", "step_000002"]


def test_a_run_directory_may_be_called_step_something(tmp_path):
    (tmp_path / "step_size").mkdir()
    assert checkpoint.candidates(tmp_path / "step_size") == []


@pytest.mark.slow
def test_a_run_begun_anew_forgets_the_checkpoints_of_the_one_before(spheres, tmp_path, monkeypatch):
    settings = ["train.validate_every=0", "overwrite=true"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=5", *settings)) == 0
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=3", *settings)) == 0
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")] == ["step_000003"]


def test_what_a_kill_left_half_written_is_neither_read_nor_kept(accelerator, tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint.save(accelerator, folder, step=1, keep=2)
    (folder / ".step_000002.writing").mkdir()
    (folder / ".step_000002.writing" / "model.safetensors").write_bytes(b"half")
    assert checkpoint.find(tmp_path).name == "step_000001"
    checkpoint.save(accelerator, folder, step=2, keep=2)
    assert names(folder) == ["step_000001", "step_000002"]


def test_a_run_that_goes_on_removes_what_a_kill_left_half_written_or_half_removed(spheres, tmp_path, monkeypatch):
    command = ["train", *small_training(spheres, tmp_path / "run", "train.steps=5", "resume=auto")]
    assert segfocal(monkeypatch, *command) == 0
    saved = tmp_path / "run" / "checkpoints"
    for left in (".step_000002.writing", ".step_000001.removed.writing", "best/.0123abcd.bundle.json"):
        shutil.copytree(saved / "step_000005", saved / left) if left.startswith(".") else (saved / left).write_text("{")
    assert segfocal(monkeypatch, *command, "train.steps=7") == 0
    assert not list(saved.rglob(".*"))
    assert names(saved) == ["best", "step_000005", "step_000007"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_full_disk_costs_neither_the_run_nor_the_checkpoint_before(error, accelerator, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    checkpoint.save(accelerator, folder, step=1, keep=1)

    def full(place, **_):
        os.makedirs(place)
        (tmp_path / place / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(accelerator, "save_state", full)
    with pytest.warns(UserWarning, match="no checkpoint of step 2"):
        assert not checkpoint.save(accelerator, folder, step=2, keep=1)
    assert names(folder) == ["step_000001"]
    assert checkpoint.damage(folder / "step_000001") is None


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="a folder without one"):
        checkpoint.find(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        checkpoint.find(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_as_if_it_had_not_been(spheres, tmp_path):
    chance = random.Random(0)
    settings = ["train.steps=200", "train.validate_every=50", "train.save_minutes=0.00001", "resume=auto"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(folder):
        command = [sys.executable, SCRIPT, *small_training(spheres, folder, *settings)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait(timeout=600) == 0
    rows = cut / "metrics.jsonl"
    for _ in range(20):
        before = rows.read_text() if rows.is_file() else ""
        run = start(cut)
        deadline = time.monotonic() + 120
        while run.poll() is None and (not rows.is_file() or rows.read_text() == before):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))  # a save takes a third of each step here: some kills hit one
        run.send_signal(signal.SIGKILL)
        run.wait()
        for folder in checkpoint.candidates(cut):
            assert checkpoint.damage(folder) is None
    final = start(cut)
    output, _ = final.communicate(timeout=600)
    assert final.returncode == 0, output
    assert "damaged" not in output
    assert same_weights(whole, cut)
    assert [path.name for path in cut.rglob(".*")] == [path.name for path in whole.rglob(".*")]  # no half file stays
    losses = [[row["loss"] for row in csv.DictReader((run / "metrics.csv").open())] for run in (whole, cut)]
    assert losses[0] == losses[1]
