"""Ordinary segmentation: one forward pass, one loss, every structure a channel of logits."""

from __future__ import annotations

from torch import Tensor, nn

from segfocal.batch import Batch
from segfocal.losses import LossReport, WeightedSum
from segfocal.models import SegmentationModel
from segfocal.tasks.ignored_pixels import settled


class Semantic(nn.Module):
    """Trains `model(image[b,c,h,w]) -> logits[b,k,h,w]`."""

    needs_prompts = False

    def __init__(self, *, model: nn.Module, criterion: WeightedSum) -> None:
        super().__init__()
        if criterion.uses_predicted_iou:
            raise ValueError("expected a loss of logits and target; got the term iou_head: use task=promptable")
        self.model, self.criterion = model, criterion

    def check_structures(self, count: int) -> None:
        """Raise ValueError unless the model has a channel of logits for each of `count` structures."""
        classes = self.model.classes if isinstance(self.model, SegmentationModel) else count
        if classes != count:
            raise ValueError(
                f"expected {classes} target for {type(self.model).__name__} with task=semantic; got {count}: use "
                "model=unet, or one run each"
            )

    def loss_target(self, batch: Batch) -> Tensor:
        """Return the target of a batch."""
        return batch.target

    def loss_cells(self, batch: Batch) -> Tensor | None:
        """Return the cells of a batch."""
        return batch.cells

    def forward(self, batch: Batch) -> LossReport:
        """Return the loss of the model's logits."""
        logits = settled(self.model(batch.image), batch.ignored)
        if batch.cells is None:
            return self.criterion(logits, batch.target)
        return self.criterion(logits, batch.target, cells=batch.cells)
