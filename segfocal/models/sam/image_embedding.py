"""What an image encoder hands to the mask decoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Embedding(NamedTuple):
    """What an image encoder knows of a batch: tokens [b,c,h,w], and finer features for the decoder.

    details is empty for SAM itself, else features at 2× and 4× the tokens' resolution. projected is what the decoder
    makes of them, where that is done once for several answers (`PromptableModel.shared`).
    """

    tokens: Tensor
    details: tuple[Tensor, ...] = ()
    projected: tuple[Tensor, ...] = ()

    def rows(self, index: Tensor) -> Embedding:
        """Return the embeddings of the images `index` [n], which may repeat."""
        details, projected = (tuple(part[index] for part in parts) for parts in (self.details, self.projected))
        return Embedding(self.tokens[index], details, projected)
