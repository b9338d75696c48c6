"""SAM's two-way transformer for images × prompts: what prompts of one image have in common is computed once.

Axes: b images, n = b·m prompts, t prompt tokens, s = h·w image tokens, c channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from segfocal.models.sam.attention import FusedDecoderAttention
from segfocal.models.sam.upstream import MLPBlock

_NARROWER = 2  # attention between prompt and image tokens works on half the channels


class SharedTwoWayBlock(nn.Module):
    """Prompt tokens look at each other and at the image, then the image looks at them; parameters keep SAM's names.

    Args:
        width: channels c.
        heads: of the four attention layers; divides width / 2.
        mlp_width: hidden channels of the perceptron.
        first: the transformer's first block; its prompt tokens are their own positions, and are replaced by what
            they see of each other.
    """

    def __init__(self, width: int, heads: int, mlp_width: int, *, first: bool) -> None:
        super().__init__()
        # built in segment-anything's order, so that a seed gives the same weights
        self.self_attn = FusedDecoderAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = FusedDecoderAttention(width, heads, _NARROWER)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, mlp_width, nn.ReLU)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = FusedDecoderAttention(width, heads, _NARROWER)
        self.first = first

    def forward(
        self, prompts: Tensor, image: Tensor, prompt_pe: Tensor, image_pe: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return prompt tokens [n,t,c] and image tokens [n,s,c].

        Args:
            prompts: prompt tokens [n,t,c].
            image: image tokens, [b,s,c] where the prompts of an image share them, else [n,s,c].
            prompt_pe: positions of the prompt tokens [n,t,c].
            image_pe: positions of the image tokens [1,s,c].
            visible: which prompt tokens are no padding, [n,t] of bool; None for all.
        """
        if self.first:
            prompts = self.self_attn(prompts, prompts, prompts, visible)
        else:
            placed = prompts + prompt_pe
            prompts = prompts + self.self_attn(placed, placed, prompts, visible)
        prompts = self.norm1(prompts)
        placed_image = image + image_pe
        from_image = self.cross_attn_token_to_image(prompts + prompt_pe, placed_image, image)
        prompts = self.norm2(prompts + from_image)
        prompts = self.norm3(prompts + self.mlp(prompts))
        from_prompts = self.cross_attn_image_to_token(placed_image, prompts + prompt_pe, prompts, visible)
        return prompts, self.norm4(add_shared(image, from_prompts))


class SharedTwoWayTransformer(nn.Module):
    """Decodes n = b·m prompts about b images; parameters keep SAM's names.

    Up to the first block's answer to the image, prompts without masks share the image's tokens.

    Args:
        depth: blocks.
        width: channels c of all tokens.
        heads: of every attention layer; divides width / 2.
        mlp_width: hidden channels of the perceptrons.
    """

    def __init__(self, *, depth: int, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SharedTwoWayBlock(width, heads, mlp_width, first=index == 0) for index in range(depth)
        )
        self.final_attn_token_to_image = FusedDecoderAttention(width, heads, _NARROWER)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, image: Tensor, image_pe: Tensor, tokens: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return prompt tokens [n,t,c] and image tokens [n,s,c].

        Args:
            image: image embedding, [b,c,h,w] where the prompts of an image share it, else [n,c,h,w].
            image_pe: its positions [1,c,h,w].
            tokens: prompt tokens [n,t,c].
            visible: which prompt tokens are no padding, [n,t] of bool; None for all.
        """
        keys, key_pe = (maps.flatten(2).permute(0, 2, 1) for maps in (image, image_pe))
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_pe, visible)
        from_image = self.final_attn_token_to_image(queries + tokens, keys + key_pe, keys)
        return self.norm_final_attn(queries + from_image), keys


def add_shared(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum [n,…] of what n = b·m prompts have each and what those of an image share, [b,…], in any order."""
    if len(one) == len(other):
        return one + other
    images = min(len(one), len(other))
    return (one.unflatten(0, (images, -1)) + other.unflatten(0, (images, -1))).flatten(0, 1)
