"""SAM's image encoder (a ViT with windowed and global attention) with fused attention, adapters and checkpointing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segfocal.models.sam.attention import fuse_attention
from segfocal.models.sam.parts import Embedding
from segfocal.models.sam.upstream import EncoderBlock, ImageEncoderViT


class SamBlock(EncoderBlock):
    """A transformer block over [b,h,w,c] tokens; an adapter sees what the MLP sees."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the input's shape."""
        x = x + self.attn(self.norm1(x), self.window_size)
        normal = self.norm2(x)
        x = x + self.mlp(normal)
        return x if self.Adapter is None else x + self.Adapter(normal)


class SamEncoder(ImageEncoderViT):
    """SAM's image encoder; parameters keep its names.

    checkpointing: each block is run again during the backward pass, which takes a third more time and keeps of each
    block no more than its input.
    """

    def __init__(self, *, checkpointing: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.checkpointing = checkpointing
        fuse_attention(self)
        for block in self.blocks:
            block.__class__ = SamBlock
            block.register_module("Adapter", None)  # SAM-Med2D's name for it

    def forward(self, image: Tensor) -> Embedding:
        """Return tokens [b,c,h/16,w/16] of standardised images [b,3,h,w]."""
        x = self.patch_embed(image) + self.pos_embed
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if again else block(x)
        return Embedding(tokens=self.neck(x.permute(0, 3, 1, 2)))
