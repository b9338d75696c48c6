"""This process's place among those that train together, however they were started; alone it is the only one."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import distributed as dist

from segfocal.device import choose_device, quick_precision
from segfocal.engine.settings import TrainingSettings
from segfocal.engine.trackers import NONE, check_tracker
from segfocal.errors import UserError

_LAST_TENSORS = 0.25  # seconds; a thread needs microseconds, where it gets a core
_SHARDS = ("fsdp", "deepspeed", "megatron_lm")  # names in Accelerate's ACCELERATE_USE_…


def connect(settings: TrainingSettings, folder: Path, *, dims: int = 2) -> Accelerator:
    """Return this process's place among those that train together (one, unless torchrun or accelerate started more).

    Args:
        settings: of training.
        folder: of the run, for a tracker.
        dims: of what the network convolves: 2 for slices, 3 for patches.

    Raises:
        UserError: a precision the device has not, a tracker whose package is missing, a model in shards, more processes
            than GPUs or batches, processes that do not find each other.
    """
    if settings.precision == "fp16" and (settings.device == "cpu" or not torch.cuda.is_available()):
        raise UserError(expected="a CUDA GPU for train.precision=fp16", found="a CPU", do="use bf16 or fp32")
    check_tracker(settings.tracker)
    _check_whole()
    _check_shares(settings)
    _check_meeting()
    precision = _precision(settings, dims)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a batch without clicks has no use for theirs
    try:
        return Accelerator(
            mixed_precision={"fp32": "no"}.get(precision, precision),
            cpu=settings.device == "cpu",
            gradient_accumulation_steps=settings.accumulate,
            kwargs_handlers=[unused, InitProcessGroupKwargs(timeout=timedelta(seconds=settings.process_timeout))],
            log_with=None if settings.tracker == NONE else settings.tracker,
            project_dir=str(folder),
        )
    except (dist.DistError, ValueError) as error:
        AcceleratorState._reset_state(reset_partial_state=True)
        if "WORLD_SIZE" not in os.environ:
            raise
        raise _apart(" ".join(str(error).split())[:200]) from error


def disconnect(accelerator: Accelerator) -> None:
    """Take this process from among those that trained together; it may end at any time after that.

    Gloo's threads free the tensors of what was summed last when it is done, not before, and need the interpreter for
    that; where it ends at that moment, they abort the process (pytorch/pytorch#179291). So they are given the time.
    """
    if accelerator.num_processes > 1:
        time.sleep(_LAST_TENSORS)
    accelerator.end_training()
    AcceleratorState._reset_state(reset_partial_state=True)  # the next run of a multirun may differ in precision


def _precision(settings: TrainingSettings, dims: int) -> str:
    """Return the precision of the network. On a CPU torch 2.13 goes back wrongly over 3-D convolutions in bfloat16.

    Weight gradients of small maps are then now and then what lay in memory: in 45 of 1,080 passes of small U-Nets.
    """
    device = choose_device(settings.device)
    wrong = device.type == "cpu" and dims == 3
    if settings.precision == "auto":
        return "fp32" if wrong else quick_precision(device)
    if settings.precision == "bf16" and wrong:
        raise UserError(
            expected="train.precision=fp32 for 3-D patches on a CPU",
            found="bf16, in which torch's 3-D convolutions have wrong gradients there",
            do="use fp32 or auto",
        )
    return settings.precision


def _check_meeting() -> None:
    """Raise UserError where several processes are not told where they meet: the first would wait for the others."""
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and missing:
        raise _apart(f"no {', '.join(missing)} in the environment")


def _apart(found: str) -> UserError:
    return UserError(
        expected="processes that find each other by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
        found=found,
        do="start them by torchrun, or as docs/scale.md shows",
    )


def _check_whole() -> None:
    """Raise UserError where Accelerate is asked for a model in shards: validations and bundles need all of it."""
    asked = [name for name in _SHARDS if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "").lower() in ("1", "true")]
    if asked:
        raise UserError(
            expected="a whole model in each process (DDP)",
            found=f"a config of Accelerate with {', '.join(asked)}, which keeps it in shards",
            do="leave that out; to save memory use task.recompute=true, train.accumulate and model.adapter=lora",
        )


def _check_shares(settings: TrainingSettings) -> None:
    """Raise UserError unless each process has its share of samples and, where there are GPUs, one of its own."""
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if settings.batch_size % (world * settings.accumulate):
        raise UserError(
            expected=f"train.batch_size a multiple of {world} processes × train.accumulate={settings.accumulate}",
            found=str(settings.batch_size),
            do="change one of them",
        )
    gpus = torch.cuda.device_count() if settings.device == "auto" and torch.cuda.is_available() else None
    if gpus is not None and local >= gpus:
        raise UserError(
            expected="a GPU for each process of a machine",
            found=f"{gpus} for more than {local}",
            do=f"start {gpus} there (--nproc-per-node={gpus}), or set train.device=cpu",
        )
