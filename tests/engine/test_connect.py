"""What keeps processes from training together is one line, before anything is read."""

import pytest
import torch

from segfocal.engine.connect import connect, disconnect
from segfocal.engine.settings import TrainingSettings
from segfocal.errors import UserError


def test_a_config_of_accelerate_that_shards_the_model_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=r"found a config of Accelerate with fsdp, which keeps it in shards"):
        connect(TrainingSettings(), tmp_path)


def test_more_processes_than_gpus_are_refused(monkeypatch, tmp_path):
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"found 2 for more than 2\. Start 2 there"):
        connect(TrainingSettings(), tmp_path)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="a multiple of 3 processes"):
        connect(TrainingSettings(batch_size=8), tmp_path)


@pytest.mark.parametrize("missing", ["MASTER_ADDR", "MASTER_PORT"])
def test_processes_that_were_not_told_where_to_meet_are_one_line(missing, monkeypatch, tmp_path):
    told = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29999"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(UserError, match=f"find each other by RANK.*found no {missing} in the environment") as said:
        connect(TrainingSettings(device="cpu"), tmp_path)
    assert "\n" not in str(said.value)


def test_patches_on_a_cpu_are_float32(monkeypatch, tmp_path):
    monkeypatch.setattr("segfocal.engine.connect.quick_precision", lambda device: "bf16")
    accelerator = connect(TrainingSettings(device="cpu"), tmp_path, dims=3)
    assert accelerator.mixed_precision == "no"
    disconnect(accelerator)
    with pytest.raises(UserError, match=r"fp32 for 3-D patches on a CPU; found bf16"):
        connect(TrainingSettings(device="cpu", precision="bf16"), tmp_path, dims=3)
