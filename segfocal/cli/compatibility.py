"""What of a training run goes together: task, loss, structures, augmentation, and slices or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from segfocal.augment import Augmentation
    from segfocal.engine.settings import TrainingSettings
    from segfocal.resample import ModelGrid
    from segfocal.structure import Structure
    from segfocal.tasks.task import Task


def trains_by_object(task: Task, structures: Sequence[Structure]) -> bool:
    """Return whether each object of a picture is a target of its own."""
    from segfocal.data.label_scheme import OBJECTS
    from segfocal.tasks import Promptable

    return structures[0].name == OBJECTS and isinstance(task, Promptable)


def check_together(task: Task, augment: Augmentation, structures: Sequence[Structure], *, by_object: bool) -> None:
    """Raise ValueError for a task that cannot be trained on these structures, or with this augmentation.

    Args:
        task: with its model and loss.
        augment: changes images, targets or both.
        structures: the targets, at least one.
        by_object: whether each object of a picture is a target of its own.
    """
    from segfocal.tasks import Promptable

    task.check_structures(len(structures))
    if by_object and not task.needs_prompts:
        raise ValueError("expected task.first.none=0 for target=objects: only a prompt can tell which of them is meant")
    if isinstance(task, Promptable) and task.embeddings and augment.changes_images:
        raise ValueError("expected augment=none with task.embeddings: an augmented slice is a new image to the encoder")
    if structures[0].overlaps and task.criterion.link == "softmax":
        raise ValueError(
            "expected a loss of the sigmoid link for structures that may overlap, as softmax gives each pixel to one; "
            "got one of softmax: choose loss=focal+dice, or name structures that share nothing"
        )


def check_components(task: Task, augment: Augmentation) -> None:
    """Raise ValueError for a loss by lesion with transforms of another library, which may mix lesions' numbers."""
    from segfocal.augment import EachSample

    if task.criterion.uses_components and isinstance(augment, EachSample):
        raise ValueError(
            "expected augment=light, strong or none with a loss by lesion; got transforms of another library, which "
            "know no numbers of lesions: choose one of these, or another loss"
        )


def check_validation(model: nn.Module, settings: TrainingSettings) -> None:
    """Raise ValueError where validation, which asks boxes or nothing, would decide about what only clicks reach."""
    from segfocal.models.sam.sam_model import SamModel

    decides = {
        "train.keep=last": settings.keep == "last",
        "train.patience=null": settings.patience is None,
        "another train.schedule than plateau": settings.schedule != "plateau",
    }
    broken = [name for name, holds in decides.items() if not holds]
    if broken and isinstance(model, SamModel) and model.correction_decoder is not None:
        raise ValueError(
            f"expected {', '.join(broken)} with model.correction_decoder=true: validation asks boxes, whose answers "
            "never change there"
        )


def check_volumes(task: Task, window: tuple[int, ...], grid: ModelGrid) -> None:
    """Raise ValueError for a promptable task of slices that are resampled along their axis: prompts lie on slices."""
    from segfocal.tasks import Promptable

    spacing_mm = grid.spacing_mm or ()
    if len(spacing_mm) == 3 and len(window) == 2 and isinstance(task, Promptable):
        raise ValueError(
            f"expected data.spacing_mm of two numbers for a promptable task of slices; got {list(spacing_mm)}: use "
            "task=semantic, or data.window of three numbers with model=prompt_unet"
        )
