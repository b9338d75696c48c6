"""SAM's prompt encoder for prompts of every kind in one batch.

Axes: n prompts, t prompt tokens, c channels, h and w rows and columns of image tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segfocal.models.sam.layer_norm import FusedLayerNorm2d
from segfocal.models.sam.upstream import LayerNorm2d, PromptEncoder
from segfocal.prompts import ABSENT, Prompt

_BOX_CORNERS = (2, 3)  # SAM's point types: 0 background, 1 foreground, 2 and 3 the corners of a box


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
        for place, layer in enumerate(self.mask_downscaling):
            if isinstance(layer, LayerNorm2d):
                self.mask_downscaling[place] = FusedLayerNorm2d(len(layer.weight), layer.eps)

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

    @property
    def parts_for_boxes(self) -> tuple[nn.Module, ...]:
        """What embeds prompts of a box alone, and those without any part."""
        return self.no_mask_embed, self.not_a_point_embed, *[self.point_embeddings[kind] for kind in _BOX_CORNERS]

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


def _as_points(prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Return all clicks and box corners as points [n,t,2] with their SAM types [n,t]; ABSENT marks padding."""
    corners = prompt.boxes_xyxy.reshape(-1, 2, 2)
    has_box = torch.isfinite(corners).all(-1).all(-1, keepdim=True)
    corner_kinds = torch.tensor(_BOX_CORNERS, device=corners.device).expand(len(prompt), 2)
    points = torch.cat([prompt.points_xy, torch.nan_to_num(corners)], dim=1)
    kinds = torch.cat([prompt.point_labels, torch.where(has_box, corner_kinds, ABSENT)], dim=1)
    return points, kinds
