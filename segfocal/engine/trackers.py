"""Trackers that get the record too; each keeps its files in the run directory, and none talks to a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from segfocal.errors import UserError

NONE = "none"


def check_tracker(name: str) -> None:
    """Raise UserError unless the package of a tracker is installed."""
    if name != NONE and find_spec(name) is None:
        raise UserError(
            expected=f"the package for train.tracker={name}",
            found="none installed",
            do=f"run pip install {name}, or leave the tracker out",
        )


def start_tracker(accelerator: Accelerator, name: str, folder: Path) -> None:
    """Open the tracker of a run; environment variables of yours, such as WANDB_MODE, come first."""
    if name == NONE:
        return
    accelerator.project_configuration.set_directories(str(folder))
    wandb = {"mode": os.environ.get("WANDB_MODE", "offline"), "dir": os.environ.get("WANDB_DIR", str(folder))}
    if name == "mlflow":
        import mlflow

        mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow.db"))
    accelerator.init_trackers("segfocal", init_kwargs={"wandb": wandb, "mlflow": {"logging_dir": str(folder)}})


def track(accelerator: Accelerator, row: Mapping[str, Any]) -> None:
    """Hand a row of the record to the tracker, if there is one."""
    numbers = {name: value for name, value in row.items() if name != "step"}
    accelerator.log(numbers, step=int(row["step"]))
