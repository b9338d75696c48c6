"""The interface of a task, by which the training loop and the evaluation call it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from segfocal.batch import Batch
from segfocal.losses import LossReport, WeightedSum


class Task(Protocol):
    """An nn.Module that holds a model and a criterion and turns a batch into a loss."""

    model: nn.Module
    criterion: WeightedSum

    @property
    def needs_prompts(self) -> bool:
        """Whether the model is never trained without a prompt."""
        ...

    def check_structures(self, count: int) -> None:
        """Raise ValueError, naming the option to change, unless `count` structures can be told apart."""
        ...

    def loss_target(self, batch: Batch) -> Tensor:
        """Return the masks [n,k,*space] of a batch by which its criterion judges logits, the same in every round."""
        ...

    def loss_cells(self, batch: Batch) -> Tensor | None:
        """Return the cells [n,k,*space] of the components of these masks; None of a batch without."""
        ...

    def __call__(self, batch: Batch) -> LossReport:
        """Return the loss of a batch, to call backward on."""
        ...
