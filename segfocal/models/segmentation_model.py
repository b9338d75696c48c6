"""What training and commands may ask of a model, beside its logits."""

from __future__ import annotations

from torch import Tensor, nn

from segfocal.models.prior import Prior


class SegmentationModel(nn.Module):
    """A network from images to logits. Networks that are not of this class take images of any size and have no prior.

    Args:
        classes: channels of logits k.
        image_shape: pixels (h, w), or voxels (d, h, w), of the only images that it takes; None for any.
        size_multiple: sides of images must be multiples of it.
        prior: what `start_from` is asked for when training begins: a share of foreground, "auto", or None.
        quicker_channels_last: a CPU trains it faster with images and weights in channels-last memory order (measured:
            benchmarks/train.py).
        learning_rate: what `train.lr=auto` is where it begins with random weights (measured: docs/results.md).
    """

    classes: int
    image_shape: tuple[int, ...] | None = None
    size_multiple: int = 1
    prior: Prior = None
    quicker_channels_last: bool = False
    learning_rate: float = 1e-3

    def start_from(self, logits: Tensor) -> None:
        """Make the first predictions equal the logits [k] of a prior."""
        raise NotImplementedError

    def move_logits(self, by: Tensor) -> bool:
        """Add a number [k] to the logits of each class; return False where the model cannot."""
        return False
