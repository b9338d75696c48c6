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
        if not embedding.details:
            return self._masks(source, queries, tokens.shape[2:]), predicted_iou
        maps = source.transpose(1, 2).unflatten(2, tokens.shape[2:])
        return torch.einsum("nkc,nchw->nkhw", queries, self._upscaled(maps, embedding.details)), predicted_iou

    def _masks(self, source: Tensor, queries: Tensor, size: Sequence[int]) -> Tensor:
        """Return SAM's mask logits [n,k,4h,4w] of image tokens [n,h·w,c] and queries [n,k,c/8].

        Its two transposed convolutions share no pixels, so they are products of matrices, and all up to the masks goes
        on in lists of tokens: about twice as fast as on maps, in which every step turns the memory's order.
        """
        up_once, norm, act_once, up_twice, act_twice = self.output_upscaling
        tokens = act_once(
            F.layer_norm(_quartered(source, up_once), norm.weight.shape, norm.weight, norm.bias, norm.eps)
        )
        tokens = act_twice(_quartered(tokens, up_twice))  # [n,h·w,2·2,2·2,c/8]
        logits = queries @ tokens.flatten(1, 3).transpose(1, 2)
        return logits.unflatten(2, (*size, 2, 2, 2, 2)).permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5, 7).flatten(2, 4)

    def _upscaled(self, source: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        up_once, norm, act_once, up_twice, act_twice = self.output_upscaling
        coarse, fine = (project(d) for project, d in zip(self.detail_projections, details, strict=True))
        half = act_once(norm(add_shared(up_once(source), coarse)))
        return act_twice(add_shared(up_twice(half), fine))


def _quartered(tokens: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """Return the four tokens [...,4,d], row by row, that a 2×2 transposed convolution of stride 2 makes of each."""
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    return (tokens @ weight).unflatten(-1, (4, -1)) + convolution.bias
