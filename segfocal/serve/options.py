"""What is asked of a server: one frozen record, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.grid import check_frame
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.serve.address import Address


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """How much of the machine the server takes.

    Args:
        sessions: scans in memory at a time.
        idle_minutes: without a request, after which a session leaves memory; it stays on disk.
        upload_mib: of one file that is uploaded.
        waiting: requests that wait for the model; further ones are refused.
    """

    sessions: int = 8
    idle_minutes: float = 30.0
    upload_mib: int = 2048
    waiting: int = 64

    def __post_init__(self) -> None:
        for name, low, high in (("sessions", 1, 1000), ("upload_mib", 1, 1 << 20), ("waiting", 1, 10_000)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UserError(
                    expected=f"{name} from {low} to {high}", found=f"{name}={value}", do="change that option"
                )
        if type(self.idle_minutes) not in (int, float) or not 0 < self.idle_minutes <= 10_000:
            raise UserError(
                expected="idle_minutes above 0, at most 10000",
                found=f"idle_minutes={self.idle_minutes}",
                do="change that option",
            )


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Address):
    """One server, at an address; without a key one is made up and kept beside the sessions.

    Args:
        bundle: the folder of the model.
        inputs: a folder, pattern or list of scans; None: scans are uploaded.
        output: the folder of corrected masks, as `train data.root=` reads it.
        sessions: the folder of sessions.
        viewer_axes: three letters, where the axes of arrays from other viewers point to; None goes by their spacing.
        limits: of memory, uploads and patience.
        propagation: what a slice hands on to the next one, and where that ends.
        sliding: how windows slide without a prompt.
        device: of the network; by default the GPU, if there is one.
        train: whether the page may train on corrections, by a process beside the server.
        train_options: of `segfocal train`, that make the same kind of model and begin with its weights.

    Raises:
        UserError: an address that cannot be, or axes that are none.
    """

    bundle: Path
    inputs: Path | None
    output: Path
    sessions: Path
    viewer_axes: str | None = None
    limits: ServeLimits = field(default_factory=ServeLimits)
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    sliding: SlidingOptions = field(default_factory=SlidingOptions)
    device: torch.device = field(default_factory=lambda: choose_device("auto"))
    train: bool = False
    train_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_axes(self.viewer_axes)


def _check_axes(axes: str | None) -> None:
    try:
        check_frame("SPL" if axes is None else axes)
    except (TypeError, ValueError) as error:
        raise UserError(
            expected="viewer_axes of three letters, one each of R/L, A/P, S/I (as SAR)",
            found=f"viewer_axes={axes}",
            do="change that option, or leave it out",
        ) from error
