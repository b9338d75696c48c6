"""SAM's prompt encoder and mask decoder for true batches: image i of a batch is decoded with prompt i."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segfocal.models.sam.upstream import MaskDecoder, PromptEncoder
from segfocal.prompts import ABSENT, Prompt

_BOX_CORNERS = (2, 3)  # SAM's point types: 0 background, 1 foreground, 2 and 3 the corners of a box


class Embedding(NamedTuple):
    """What an image encoder knows of a batch: tokens [b,c,h,w], and finer features for the decoder.

    details is empty for SAM itself, else features at 2× and 4× the tokens' resolution.
    """

    tokens: Tensor
    details: tuple[Tensor, ...] = ()


class BatchPromptEncoder(PromptEncoder):
    """Embeds one prompt for each image, of any kinds mixed in one batch; parameters keep SAM's names."""

    def forward(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Return sparse embeddings [b,n,c] and dense ones [b,c,h,w].

        A missing point or box becomes SAM's "not a point" token, a missing mask its "no mask" embedding.
        """
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
        dense = self.mask_downscaling(prompt.mask_logits)
        return sparse, torch.where(prompt.has_mask[:, None, None, None], dense, none)

    def get_dense_pe(self) -> Tensor:
        """Return the position encoding [1,c,h,w] of the tokens, in float32 under autocast too."""
        with torch.autocast(self.no_mask_embed.weight.device.type, enabled=False):
            return super().get_dense_pe()


class BatchMaskDecoder(MaskDecoder):
    """Decodes a batch of embeddings, each with its own prompt; parameters keep SAM's names.

    detail_channels: channels of the embedding's finer features, added while the mask is upscaled, as SAM 2 does
    (Ravi et al., 2024, section 4). Empty for SAM's own decoder.
    """

    def __init__(self, *, detail_channels: Sequence[int] = (), **options: Any) -> None:
        super().__init__(**options)
        widths = (self.transformer_dim // 4, self.transformer_dim // 8)
        self.detail_projections = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(detail_channels, widths, strict=False)
        )

    def forward(self, embedding: Embedding, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask logits [b,m,4h,4w] and predicted IoU [b,m] of all m mask tokens.

        Differs from SAM's, which repeats every embedding once for each prompt and so takes one image a call.
        """
        b, c, h, w = embedding.tokens.shape
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(b, -1, -1)
        source = embedding.tokens + dense
        answers, source = self.transformer(source, image_pe.expand(b, -1, -1, -1), torch.cat([own, sparse], dim=1))
        upscaled = self._upscaled(source.transpose(1, 2).reshape(b, c, h, w), embedding.details)
        queries = [mlp(answers[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(queries, dim=1), upscaled)
        return masks, self.iou_prediction_head(answers[:, 0])

    def _upscaled(self, source: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        if not details:
            return self.output_upscaling(source)
        up_once, norm, act_once, up_twice, act_twice = self.output_upscaling
        coarse, fine = (project(d) for project, d in zip(self.detail_projections, details, strict=True))
        return act_twice(up_twice(act_once(norm(up_once(source) + coarse))) + fine)


def _as_points(prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Return all clicks and box corners as points [b,n,2] with their SAM types [b,n]; ABSENT marks padding."""
    corners = prompt.boxes_xyxy.reshape(-1, 2, 2)
    has_box = torch.isfinite(corners).all(-1).all(-1, keepdim=True)
    corner_kinds = torch.tensor(_BOX_CORNERS, device=corners.device).expand(len(prompt), 2)
    points = torch.cat([prompt.points_xy, torch.nan_to_num(corners)], dim=1)
    kinds = torch.cat([prompt.point_labels, torch.where(has_box, corner_kinds, ABSENT)], dim=1)
    return points, kinds
