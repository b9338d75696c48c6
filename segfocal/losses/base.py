"""What every loss shares, so that a weighted sum can hold any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from segfocal.losses.parameter_schedules import Following

Link = Literal["sigmoid", "softmax"]


class Term(Following):
    """A loss of logits and target.

    link: "sigmoid" losses take logits and masks `[b,k,*space]` of independent structures; "softmax" losses take logits
    `[b,c,*space]` of classes that exclude each other, the background first, and class indices `[b,*space]`.
    validate: check values too (soft targets in [0,1], class indices in range, finite logits), which synchronises a GPU.
    """

    link: Link = "sigmoid"
    uses_predicted_iou: ClassVar[bool] = False  # whether it is called with the IoU head's output as third argument

    def __init__(self, *, validate: bool = False) -> None:
        super().__init__()
        self.validate = validate
        self.awaits_rates = False

    def use_rates(self, rates: Sequence[float]) -> None:
        """Make weights left to "inverse_frequency" from the share of pixels of the background and each structure."""

    def check_ready(self, classes: int) -> None:
        """Raise ValueError while weights that are to come from the training set are missing."""
        if self.awaits_rates:
            raise ValueError(
                "expected the pixel rates that inverse_frequency needs; got none: call use_rates with the share of "
                "pixels of the background and of each structure"
            )
