"""SAM's two-way transformer for images × prompts: what prompts of one image have in common is computed once."""

from __future__ import annotations

from torch import Tensor

from segfocal.models.sam.attention import fuse_attention
from segfocal.models.sam.upstream import TwoWayAttentionBlock, TwoWayTransformer


class SharedTwoWayBlock(TwoWayAttentionBlock):
    """Prompt tokens look at each other and at the image, then the image looks at them."""

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return prompt tokens [n,t,c] and image tokens [n,s,c]; image tokens come in once an image or once a prompt.

        visible [n,t] (bool) marks prompt tokens that are no padding.
        """
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries, visible)
        else:
            placed = queries + query_pe
            queries = queries + self.self_attn(placed, placed, queries, visible)
        queries = self.norm1(queries)
        seen = self.cross_attn_token_to_image(queries + query_pe, keys + key_pe, keys)
        queries = self.norm2(queries + seen)
        queries = self.norm3(queries + self.mlp(queries))
        told = self.cross_attn_image_to_token(keys + key_pe, queries + query_pe, queries, visible)
        return queries, self.norm4(add_shared(keys, told))


class SharedTwoWayTransformer(TwoWayTransformer):
    """Decodes n = b·m prompts about b images; parameters keep SAM's names.

    Up to the first layer's answer to the image, prompts without masks share the image's tokens.
    """

    def forward(
        self, image: Tensor, image_pe: Tensor, tokens: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return prompt tokens [n,t,c] and image tokens [n,h·w,c] of images [b or n,c,h,w] and tokens [n,t,c]."""
        keys, key_pe = (maps.flatten(2).permute(0, 2, 1) for maps in (image, image_pe))
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_pe, visible)
        seen = self.final_attn_token_to_image(queries + tokens, keys + key_pe, keys)
        return self.norm_final_attn(queries + seen), keys


def share_images(transformer: TwoWayTransformer) -> None:
    """Let a stock transformer decode images × prompts, in place; weights stay."""
    fuse_attention(transformer)
    transformer.__class__ = SharedTwoWayTransformer
    for layer in transformer.layers:
        layer.__class__ = SharedTwoWayBlock


def add_shared(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum [n,…] of what n = b·m prompts have each and what those of an image share, [b,…], in any order."""
    if len(one) == len(other):
        return one + other
    images = min(len(one), len(other))
    return (one.unflatten(0, (images, -1)) + other.unflatten(0, (images, -1))).flatten(0, 1)
