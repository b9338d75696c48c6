"""Pixels that count for nothing: a network's answer there is replaced by what no loss objects to."""

from __future__ import annotations

from torch import Tensor

_SURE = -1.0e4  # sigmoid and softmax make exactly 0 of it, and every loss too, in float16 as in float32


def settled(logits: Tensor, ignored: Tensor | None) -> Tensor:
    """Return logits [b,k,h,w] that say background beyond doubt where `ignored` [b,1,h,w] is True.

    As targets are background there, such pixels give every loss exactly nothing, and the network no gradient. They
    still count among the pixels over which a mean is taken.
    """
    return logits if ignored is None else logits.masked_fill(ignored, _SURE)
