"""SAM's prompt encoder and mask decoder for true batches of images × prompts.

With b images and n = b·m prompts, image i is asked prompts i·m to (i+1)·m − 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.sam.two_way import add_shared, share_images
from segfocal.models.sam.upstream import MaskDecoder, PromptEncoder
from segfocal.prompts import ABSENT, Prompt

_BOX_CORNERS = (2, 3)  # SAM's point types: 0 background, 1 foreground, 2 and 3 the corners of a box


class Embedding(NamedTuple):
    """What an image encoder knows of a batch: tokens [b,c,h,w], and finer features for the decoder.

    details is empty for SAM itself, else features at 2× and 4× the tokens' resolution.
    """

    tokens: Tensor
    details: tuple[Tensor, ...] = ()

    def rows(self, index: Tensor) -> Embedding:
        """Return the embeddings of the images `index` [n], which may repeat."""
        return Embedding(self.tokens[index], tuple(part[index] for part in self.details))


class BatchPromptEncoder(PromptEncoder):
    """Embeds prompts of any kinds mixed in one batch; parameters keep SAM's names.

    A missing point or box becomes SAM's "not a point" token, a missing mask its "no mask" embedding.

    hides_absent: the decoder does not see those tokens, but for the one that SAM itself adds to points without a box:
    every prompt gets the answer that SAM gives it alone. False shows them all, as sam_tiny is trained.
    mask_probabilities: the weights know masks as probabilities, as SAM-Med2D's, and not as SAM's logits.
    """

    def __init__(self, *, hides_absent: bool = False, mask_probabilities: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.hides_absent, self.mask_probabilities = hides_absent, mask_probabilities

    def forward(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Return sparse embeddings [n,t,c] and dense ones [n,c,h,w]."""
        points_xy, kinds = _as_points(prompt)
        with torch.autocast(points_xy.device.type, enabled=False):  # half precision would blur positions by pixels
            position = self.pe_layer.forward_with_coords(points_xy.float() + 0.5, self.input_image_size)
        table = torch.cat([self.not_a_point_embed.weight, *[layer.weight for layer in self.point_embeddings]])
        present = (kinds != ABSENT).unsqueeze(-1)
        sparse = torch.where(present, position, 0.0) + table[kinds + 1]
        h, w = self.image_embedding_size
        none = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompt), -1, h, w)
        if prompt.mask_logits is None:
            return sparse, none
        mask = prompt.mask_logits.sigmoid() if self.mask_probabilities else prompt.mask_logits
        return sparse, torch.where(prompt.has_mask[:, None, None, None], self.mask_downscaling(mask), none)

    def visible(self, prompt: Prompt) -> Tensor | None:
        """Return which sparse embeddings [n,t] the decoder sees, None where it sees all."""
        if not self.hides_absent:
            return None
        _, kinds = _as_points(prompt)
        present = kinds != ABSENT
        has_point, has_box = present[:, :-2].any(1), present[:, -2:].any(1)  # corners come last
        present[:, -2] |= has_point & ~has_box  # the first corner of the missing box is that token
        return present

    def get_dense_pe(self) -> Tensor:
        """Return the position encoding [1,c,h,w] of the tokens, in float32 under autocast too."""
        with torch.autocast(self.no_mask_embed.weight.device.type, enabled=False):
            return super().get_dense_pe()


class BatchMaskDecoder(MaskDecoder):
    """Decodes a batch of embeddings, each with its own prompts; parameters keep SAM's names.

    detail_channels: channels of the embedding's finer features, added while the mask is upscaled, as SAM 2 does
    (Ravi et al., 2024, section 4). Empty for SAM's own decoder.
    """

    def __init__(self, *, detail_channels: Sequence[int] = (), **options: Any) -> None:
        super().__init__(**options)
        share_images(self.transformer)
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

        sparse [n,t,c], of which the tokens `visible` [n,t] count (None: all); dense [n,c,h,w], or [1,c,h,w] for all.
        Differs from SAM's, which repeats every embedding once for each prompt and so takes one image a call.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(sparse), -1, -1)
        if visible is not None:
            visible = torch.cat([visible.new_ones(len(own), own.shape[1]), visible], dim=1)
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


def _as_points(prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Return all clicks and box corners as points [n,t,2] with their SAM types [n,t]; ABSENT marks padding."""
    corners = prompt.boxes_xyxy.reshape(-1, 2, 2)
    has_box = torch.isfinite(corners).all(-1).all(-1, keepdim=True)
    corner_kinds = torch.tensor(_BOX_CORNERS, device=corners.device).expand(len(prompt), 2)
    points = torch.cat([prompt.points_xy, torch.nan_to_num(corners)], dim=1)
    kinds = torch.cat([prompt.point_labels, torch.where(has_box, corner_kinds, ABSENT)], dim=1)
    return points, kinds
