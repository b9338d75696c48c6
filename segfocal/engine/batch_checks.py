"""Stops a run at a batch that does not fit or a loss that is not finite, before it reaches the weights; names it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from safetensors.torch import save_file

from segfocal.batch import Batch
from segfocal.errors import UserError
from segfocal.files import written_beside
from segfocal.losses import LossReport


@contextmanager
def naming_slices(batch: Batch) -> Iterator[None]:
    """Add the slices of `batch` to what a model or loss says about values it cannot use."""
    try:
        yield
    except ValueError as error:
        raise UserError(
            expected="a batch that fits the model and the loss",
            found=str(error),
            where="; ".join(map(str, batch.origins)),
            do="change that option, or look at these slices",
        ) from error


def check_loss(report: LossReport, batch: Batch, *, step: int, folder: Path) -> None:
    """Raise UserError unless the loss is finite (reads it: synchronises the GPU).

    Args:
        report: of the batch.
        batch: is kept for a second look, and its slices are named.
        step: of the run, from 1, for the message.
        folder: the run directory, where the batch is kept.
    """
    if torch.isfinite(report.total):
        return
    terms = [name for name, value in report.terms.items() if not torch.isfinite(value)] or ["total"]
    found = f"{report.total.item()} at step {step}, from {', '.join(terms)}"
    _stop(batch, folder, expected="a finite loss", found=found)


def check_gradient(norm: float, batch: Batch, *, step: int, folder: Path) -> None:
    """Raise UserError unless the norm of the gradient is finite.

    Args:
        norm: of the gradient, before it is clipped.
        batch: is kept for a second look, and its slices are named.
        step: of the run, from 1, for the message.
        folder: the run directory, where the batch is kept.
    """
    if not math.isfinite(norm):
        _stop(batch, folder, expected="a finite gradient", found=f"a norm of {norm} at step {step}")


def _stop(batch: Batch, folder: Path, *, expected: str, found: str) -> NoReturn:
    """Keep the batch in `folder` for a second look, and raise UserError."""
    kept = folder / "failed_batch.safetensors"
    with written_beside(kept) as temporary:
        save_file({"image": batch.image.contiguous(), "target": batch.target.contiguous()}, temporary)
    raise UserError(
        expected=expected,
        found=found,
        where="; ".join(map(str, batch.origins)),
        do=f"lower train.lr, set train.clip_norm, or look at these slices (as the loss saw them: {kept})",
    )
