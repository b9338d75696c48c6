"""Prompts of a promptable model (clicks, boxes, masks, or none), and how they are drawn from a target.

Coordinates are pixels of the model's image, x to the right and y down; a box is half-open, from the first pixel of
its target to one past the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

ABSENT = -1  # the label of a point that is only padding


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One prompt for each image of a batch; any part may be absent, and a prompt with no part is legal.

    points_xy [b,n,2], point_labels [b,n] (1 inside the target, 0 outside, ABSENT padding), boxes_xyxy [b,4] (a row
    of NaN is no box), mask_logits [b,1,h,w] at the decoder's resolution, or None, has_mask [b] bool.
    """

    points_xy: Tensor
    point_labels: Tensor
    boxes_xyxy: Tensor
    mask_logits: Tensor | None
    has_mask: Tensor

    @staticmethod
    def none(count: int, *, device: torch.device) -> Prompt:
        """Return `count` prompts that ask nothing: the model segments what it was trained for.

        They hold one absent click, as every first prompt in training does: padding is a token the decoder sees.
        """
        return Prompt(
            points_xy=torch.zeros(count, 1, 2, device=device),
            point_labels=torch.full((count, 1), ABSENT, device=device),
            boxes_xyxy=torch.full((count, 4), torch.nan, device=device),
            mask_logits=None,
            has_mask=torch.zeros(count, dtype=torch.bool, device=device),
        )

    def __len__(self) -> int:
        return self.points_xy.shape[0]

    def with_boxes(self, boxes_xyxy: Tensor) -> Prompt:
        """Return this prompt with the boxes [b,4] in place of its own."""
        return replace(self, boxes_xyxy=boxes_xyxy)

    def with_clicks(self, points_xy: Tensor, labels: Tensor) -> Prompt:
        """Return this prompt with one more click [b,2] each, of `labels` [b]."""
        return replace(
            self,
            points_xy=torch.cat([self.points_xy, points_xy[:, None]], dim=1),
            point_labels=torch.cat([self.point_labels, labels[:, None]], dim=1),
        )

    def with_mask(self, mask_logits: Tensor) -> Prompt:
        """Return this prompt with the previous answer's logits [b,1,h,w] as its mask."""
        return replace(self, mask_logits=mask_logits, has_mask=torch.ones_like(self.has_mask))


def boxes_of(target: Tensor) -> Tensor:
    """Return the bounding box [b,4] of each mask [b,1,h,w]; a row of NaN where a mask is empty."""
    inside = target[:, 0] > 0.5
    x0, x1 = _extent(inside.any(1))
    y0, y1 = _extent(inside.any(2))
    boxes = torch.stack([x0, y0, x1, y1], dim=1)
    return torch.where(inside.flatten(1).any(1, keepdim=True), boxes, torch.nan)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last True of each row [b,n]."""
    size = occupied.shape[1]
    first = occupied.to(torch.uint8).argmax(1)
    last = size - occupied.flip(1).to(torch.uint8).argmax(1)
    return first.float(), last.float()


def jitter_boxes(boxes_xyxy: Tensor, uniforms: Tensor, *, pixels: float, share: float) -> Tensor:
    """Move each side by up to `pixels` or `share` of the box's size, whichever is larger, inward or outward.

    `uniforms` [b,4] in [0,1) decide by how much. A box never turns inside out.
    """
    size = torch.stack([boxes_xyxy[:, 2] - boxes_xyxy[:, 0], boxes_xyxy[:, 3] - boxes_xyxy[:, 1]], dim=1)
    reach = torch.maximum(share * size, torch.full_like(size, pixels)).repeat(1, 2)
    moved = boxes_xyxy + (2 * uniforms - 1) * reach
    low, high = moved[:, :2], moved[:, 2:]
    return torch.cat([torch.minimum(low, high - 1), torch.maximum(high, low + 1)], dim=1)


def clicks_in(region: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one pixel of each region [b,h,w] (bool), uniformly, by `uniforms` [b]; return xy [b,2] and found [b].

    An empty region gives (0, 0) and found False.
    """
    b, _, w = region.shape
    flat = region.reshape(b, -1)
    count = flat.sum(1)
    wanted = (uniforms.to(flat.device) * count).long() + 1  # the wanted-th pixel of the region, counted from one
    index = (flat.cumsum(1) < wanted[:, None]).sum(1).clamp(max=flat.shape[1] - 1)
    found = count > 0
    xy = torch.stack([index % w, index // w], dim=1).float()
    return torch.where(found[:, None], xy, 0.0), found


def error_clicks(logits: Tensor, target: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Click where the answer is wrong: xy [b,2] and labels [b], 1 on missed target, 0 on false alarm.

    Drawn uniformly from all wrong pixels of masks [b,1,h,w], as SAM-Med2D does; where nothing is wrong the label is
    ABSENT.
    """
    truth = target[:, 0] > 0.5
    wrong = (logits[:, 0] > 0) != truth
    xy, found = clicks_in(wrong, uniforms)
    missed = truth.flatten(1).gather(1, (xy[:, 1] * truth.shape[2] + xy[:, 0]).long()[:, None])[:, 0]
    return xy, torch.where(found, missed.long(), ABSENT)
