"""SAM's image encoder (a ViT with windowed and global attention) with fused attention, adapters and checkpointing.

Axes: b images, h and w rows and columns of tokens, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segfocal.models.sam.attention import FusedEncoderAttention
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.layer_norm import FusedLayerNorm2d
from segfocal.models.sam.upstream import MLPBlock, PatchEmbed

_EXPANSION = 4  # hidden channels of a block's perceptron, per channel


@dataclass(frozen=True, kw_only=True)
class EncoderSizes:
    """Sizes of a SamEncoder; the defaults are those that all of SAM's own share.

    Args:
        image_size: pixels of a side.
        patch: pixels of a token's side.
        channels: of the image.
        width: channels of the tokens inside.
        depth: transformer blocks.
        heads: of every attention layer; divides width.
        out: channels of the embedding.
        window: side of the attention windows in tokens, 0 for none.
        global_blocks: blocks that attend over the whole image instead.
        relative_positions: attention knows distances between tokens.
        norm_eps: of the blocks' layer norms.
    """

    image_size: int
    patch: int = 16
    channels: int = 3
    width: int
    depth: int
    heads: int
    out: int
    window: int = 14
    global_blocks: tuple[int, ...] = ()
    relative_positions: bool = True
    norm_eps: float = 1e-6

    @property
    def tokens(self) -> int:
        """Tokens of a side."""
        return self.image_size // self.patch

    def window_of(self, block: int) -> int:
        """Return the side of a block's attention windows in tokens, 0 for the whole image."""
        return 0 if block in self.global_blocks else self.window


class SamBlock(nn.Module):
    """A transformer block over tokens [b,h,w,c]; parameters keep SAM's names.

    `Adapter`, None or SAM-Med2D's name for one, sees what the perceptron sees.
    """

    Adapter: nn.Module | None

    def __init__(self, sizes: EncoderSizes, index: int) -> None:
        super().__init__()
        self.window_size = sizes.window_of(index)
        side = self.window_size or sizes.tokens
        self.norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.attn = FusedEncoderAttention(
            sizes.width, sizes.heads, use_rel_pos=sizes.relative_positions, input_size=(side, side)
        )
        self.norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.mlp = MLPBlock(sizes.width, _EXPANSION * sizes.width, nn.GELU)
        self.register_module("Adapter", None)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the input's shape."""
        x = x + self.attn(self.norm1(x), self.window_size)
        normal = self.norm2(x)
        x = x + self.mlp(normal)
        return x if self.Adapter is None else x + self.Adapter(normal)


class SamEncoder(nn.Module):
    """SAM's image encoder; parameters keep its names.

    checkpointing: each block is run again during the backward pass, which takes a third more time and keeps of each
    block no more than its input.
    """

    blocks: Any  # a ModuleList of SamBlock, which has no type of its own

    def __init__(self, sizes: EncoderSizes, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        patch = (sizes.patch, sizes.patch)
        # built in segment-anything's order, so that a seed gives the same weights
        self.patch_embed = PatchEmbed(patch, patch, in_chans=sizes.channels, embed_dim=sizes.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.tokens, sizes.tokens, sizes.width))
        self.blocks = nn.ModuleList(SamBlock(sizes, index) for index in range(sizes.depth))
        self.neck = nn.Sequential(
            nn.Conv2d(sizes.width, sizes.out, 1, bias=False),
            FusedLayerNorm2d(sizes.out),
            nn.Conv2d(sizes.out, sizes.out, 3, padding=1, bias=False),
            FusedLayerNorm2d(sizes.out),
        )

    def forward(self, image: Tensor) -> Embedding:
        """Return tokens [b,c,h,w], h and w a 16th of the sides of standardised images [b,3,16h,16w]."""
        x = self.patch_embed(image) + self.pos_embed
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if again else block(x)
        return Embedding(tokens=self.neck(x.permute(0, 3, 1, 2)))
