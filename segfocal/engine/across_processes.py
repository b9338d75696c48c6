"""What the processes of a training run agree on: decisions, means, and the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor


def in_any_process(accelerator: Accelerator, here: bool) -> bool:
    """Return whether the answer is yes in any process, so that all do the same."""
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device)) > 0)


def mean_over_processes(accelerator: Accelerator, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read the mean of each value over all processes, all at once (synchronises the GPU)."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    return dict(zip(values, accelerator.reduce(stacked, "mean").tolist(), strict=True))


def main_folder(folder: Path) -> Path:
    """Return the main process's run directory in every process."""
    return Path(broadcast_object_list([str(folder)])[0])
