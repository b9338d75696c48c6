"""SAM's mask decoder for batches of images × prompts.

Axes: b images, n = b·m prompts, of which prompts i·m to (i+1)·m − 1 belong to image i, k masks of a prompt, t prompt
tokens, c channels, h and w rows and columns of image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.two_way_transformer import add_shared
from segfocal.models.sam.upstream import MaskDecoder


class BatchMaskDecoder(MaskDecoder):
    """Decodes a batch of embeddings, each with its own prompts; parameters keep SAM's names.

    detail_channels: channels of the embedding's finer features, added while the mask is upscaled, as SAM 2 does
    (Ravi et al., 2024, section 4). Empty for SAM's own decoder.
    """

    def __init__(self, *, detail_channels: Sequence[int] = (), **options: Any) -> None:
        super().__init__(**options)
        widths = (self.transformer_dim // 4, self.transformer_dim // 8)
        self.detail_projections = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(detail_channels, widths, strict=False)
        )

    def forward(
        self,
        embedding: Embedding,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        visible: Tensor | None = None,
        masks: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,k,4h,4w] and predicted IoU [n,k] of the k mask tokens that `masks` selects.

        Differs from SAM's, which repeats every embedding once for each prompt and so takes one image a call.

        Args:
            embedding: of b images, tokens [b,c,h,w].
            image_pe: positions of the image tokens [1,c,h,w].
            sparse: embedded clicks and boxes [n,t,c].
            dense: embedded mask prompts [n,c,h,w], or [1,c,h,w] for all prompts.
            visible: which tokens of `sparse` are no padding, [n,t] of bool; None for all.
            masks: SAM's mask tokens: the first is the single mask, the rest are the alternatives.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(sparse.shape[0], -1, -1)
        if visible is not None:
            visible = torch.cat([visible.new_ones(own.shape[0], own.shape[1]), visible], dim=1)
        tokens = embedding.tokens
        source = tokens + dense if len(dense) == 1 else add_shared(tokens, dense)
        answers, source = self.transformer(source, image_pe, torch.cat([own, sparse], dim=1), visible)
        chosen = range(self.num_mask_tokens)[masks]
        queries = torch.stack([self.output_hypernetworks_mlps[i](answers[:, 1 + i]) for i in chosen], dim=1)
        predicted_iou = self.iou_prediction_head(answers[:, 0])[:, masks]
        details = embedding.projected or self.projected(embedding.details)
        return self.mask_logits(source, queries, tokens.shape[2:], details), predicted_iou

    def projected(self, details: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what details of an image add to its masks, in the order of `mask_logits`; nothing without details.

        That is [b,h·w,2·2,c/4] of [b,·,2h,2w], and [b,h·w,2·2,2·2,c/8] of [b,·,4h,4w].
        """
        layers: Any = self.detail_projections
        return tuple(
            _quarters(F.linear(maps.permute(0, 2, 3, 1), layer.weight.flatten(1), layer.bias), halvings)
            for halvings, (maps, layer) in enumerate(zip(details, layers, strict=True), start=1)
        )

    def mask_logits(
        self, source: Tensor, queries: Tensor, size: Sequence[int], details: tuple[Tensor, ...] = ()
    ) -> Tensor:
        """Return mask logits [n,k,4h,4w].

        The two transposed convolutions share no pixels, so they are products of matrices, and all up to the masks goes
        on in lists of tokens: about twice as fast as on maps, in which every step turns the memory's order.

        Args:
            source: image tokens [n,h·w,c].
            queries: one for each mask, [n,k,c/8].
            size: (h, w).
            details: `projected`, of SAM's own decoder none.
        """
        up_once, norm, act_once, up_twice, act_twice = self.output_upscaling
        half = _quartered(source, up_once, *details[:1])
        half = act_once(F.layer_norm(half, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        tokens = act_twice(_quartered(half, up_twice, *details[1:]))  # [n,h·w,2·2,2·2,c/8]
        logits = (tokens.flatten(1, 3) @ queries.transpose(1, 2)).transpose(1, 2)  # gradients in the tokens' order
        return logits.unflatten(2, (*size, 2, 2, 2, 2)).permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5, 7).flatten(2, 4)


def _quartered(tokens: Tensor, convolution: Any, detail: Tensor | None = None) -> Tensor:
    """Return the four tokens [n,…,4,d], row by row, that a 2×2 transposed convolution of stride 2 makes of each.

    detail: [b,…,4,d], added to those of the prompts of each image; None for nothing.
    """
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    four = (tokens @ weight).unflatten(-1, (4, -1))
    if detail is None:
        return four + convolution.bias
    return add_shared(four, detail + convolution.bias.to(detail.dtype))


def _quarters(maps: Tensor, halvings: int) -> Tensor:
    """Return maps [b,h·2ⁱ,w·2ⁱ,c] as [b,h·w,4,…,4,c]: the quarters of each token, their quarters, and so on i times."""
    for axis in (2, 1):
        maps = maps.unflatten(axis, (-1, *[2] * halvings))
    rows, columns = 1, 2 + halvings  # axes of the tokens; those of their halves follow each
    halves = [axis + step for step in range(1, halvings + 1) for axis in (rows, columns)]
    maps = maps.permute(0, rows, columns, *halves, -1).flatten(1, 2)
    for place in range(2, 2 + halvings):
        maps = maps.flatten(place, place + 1)
    return maps
