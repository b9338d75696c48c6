"""Pixels without a loss: the logits there become background beyond doubt, which no loss penalises."""

from __future__ import annotations

from torch import Tensor

_SURE = -1.0e4  # sigmoid and softmax make exactly 0 of it, and every loss too, in float16 as in float32


def settled(logits: Tensor, ignored: Tensor | None) -> Tensor:
    """Return logits [b,k,h,w] that are background beyond doubt where `ignored` [b,1,h,w] is True.

    Targets are background there too, so these pixels add exactly 0 to every loss and give the network no gradient. They
    are still counted among the pixels over which a mean is taken.
    """
    return logits if ignored is None else logits.masked_fill(ignored, _SURE)
