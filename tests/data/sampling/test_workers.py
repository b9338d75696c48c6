"""Loading processes: they change no batch, outlive a scheduler's signal, and are named when they die or hang."""

import gc
import os
import signal
import time
from multiprocessing import active_children

import pytest
import torch
from torch.utils.data import Dataset

from segfocal.augment import Augment
from segfocal.batch import SampleKey
from segfocal.data.sampling.dataset import Steps, load
from segfocal.data.sampling.workers import awaiting_what_torch_says, naming_lost_workers
from segfocal.engine.prefetch import on_device
from segfocal.errors import UserError
from tests.augment.test_augment import STRONG


class Noise(Dataset):
    """Samples that are a function of their key; `trouble` happens in the process that loads step 3."""

    def __init__(self, trouble=None):
        self.trouble = trouble

    def __getitem__(self, key):
        if self.trouble and key.step == 3:
            self.trouble()
        image = torch.from_numpy(key.rng(0).random((1, 33, 29), dtype="float32"))
        return image, (image > 0.6).to(torch.uint8), key, f"step {key.step}"


def steps(last=6):
    return Steps(seed=5, first=0, last=last, batch_size=3)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def sleep():
    time.sleep(60)


def fail():
    raise RuntimeError("a chunk that cannot be read")


@pytest.mark.parametrize("augment", [Augment(), STRONG], ids=["none", "strong"])
def test_a_step_has_the_same_augmented_batch_with_0_1_and_4_workers(augment):
    runs = []
    for workers in (0, 1, 4):
        batches = on_device(load(Noise(), steps(), workers=workers, pin=False), torch.device("cpu"))
        runs.append([augment(batch, size=(24, 20)) for batch in batches])
    assert len(runs[0]) == 6
    for first, *others in zip(*runs, strict=True):
        for other in others:
            assert torch.equal(first.image, other.image)
            assert torch.equal(first.target, other.target)
            assert first.keys == other.keys


def test_a_process_killed_for_its_memory_is_named_with_the_likely_reason():
    with pytest.raises(UserError, match=r"2 loading processes \(train\.workers\).*process \d+ was killed") as caught:
        list(load(Noise(die), steps(), workers=2, pin=False))
    assert "memory ran out" in str(caught.value)
    assert "Lower train.workers" in str(caught.value)


def test_a_process_that_ends_early_is_named_and_how_to_see_why():
    with pytest.raises(UserError, match=r"process \d+ ended before its work was done.*train\.workers=0"):
        list(load(Noise(leave), steps(), workers=1, pin=False))


@pytest.mark.parametrize("cut", [EOFError(), ConnectionResetError(), FileNotFoundError(2, "No such file or directory")])
def test_a_process_that_dies_while_a_batch_is_read_from_it_is_named(cut):
    """The connection is gone before torch says of which process, as it does from a signal's handler."""

    def tell(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with (
            pytest.raises(UserError, match="process 7 was killed by the signal"),
            naming_lost_workers(1, timeout=None),
            awaiting_what_torch_says(),
        ):
            raise cut
    finally:
        signal.signal(signal.SIGALRM, before)


def test_processes_that_hang_are_given_up_and_ended():
    with pytest.raises(UserError, match=r"a batch within 1 seconds from one loading process; found none: they hang"):
        list(load(Noise(sleep), steps(), workers=1, pin=False, timeout=1))
    deadline = time.monotonic() + 30
    while active_children() and time.monotonic() < deadline:
        pass
    assert not active_children()


def test_a_scheduler_that_ends_a_job_leaves_its_loading_processes_to_the_main_one():
    batches = load(Noise(), steps(last=40), workers=2, pin=False)
    next(batches), next(batches)  # one of each process, so both have begun
    for process in active_children():
        os.kill(process.pid, signal.SIGTERM)
    assert len(list(batches)) == 38


def test_other_errors_of_a_dataset_stay_what_they_are():
    with pytest.raises(RuntimeError, match="a chunk that cannot be read"):
        list(load(Noise(fail), steps(), workers=1, pin=False))


@pytest.mark.parametrize("trouble", [die, leave, fail])
def test_the_others_end_at_once_where_one_fails(trouble):
    """Torch would wait 10 s for each that is told to end by a queue which is freed already."""
    started = time.monotonic()
    with pytest.raises((UserError, RuntimeError)):
        list(load(Noise(trouble), steps(), workers=2, pin=False))
    gc.collect()
    while active_children() and time.monotonic() < started + 8:
        pass
    assert not active_children()
    assert time.monotonic() < started + 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_copied_ahead_to_a_gpu_are_the_batches():
    device = torch.device("cuda")
    for there, here in zip(
        on_device(load(Noise(), steps(20), workers=2, pin=True), device),
        load(Noise(), steps(20), workers=0, pin=False),
        strict=True,
    ):
        assert there.image.device.type == "cuda"
        assert torch.equal(there.image.cpu(), here.image)
        assert there.keys == here.keys == tuple(SampleKey(5, here.keys[0].step, i) for i in range(3))
