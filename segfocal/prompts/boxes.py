"""Boxes around targets, and how far off a user may draw them."""

from __future__ import annotations

import torch
from torch import Tensor


def boxes_of(target: Tensor) -> Tensor:
    """Return the bounding box [n,4] of each mask [n,1,h,w]; a row of NaN where a mask is empty."""
    inside = target[:, 0] > 0.5
    x0, x1 = _extent(inside.any(1))
    y0, y1 = _extent(inside.any(2))
    boxes = torch.stack([x0, y0, x1, y1], dim=1)
    return torch.where(inside.flatten(1).any(1, keepdim=True), boxes, torch.nan)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last True of each row [n,length]."""
    size = occupied.shape[1]
    first = occupied.to(torch.uint8).argmax(1)
    last = size - occupied.flip(1).to(torch.uint8).argmax(1)
    return first.float(), last.float()


def jitter_boxes(boxes_xyxy: Tensor, uniforms: Tensor, *, pixels: float, share: float) -> Tensor:
    """Move each side by up to `pixels` or `share` of the box's size, whichever is larger, inward or outward.

    A box keeps a width and a height of at least one pixel.

    Args:
        boxes_xyxy: [n,4]; a row of NaN stays NaN.
        uniforms: [n,4] in [0,1), by how much each side moves.
        pixels: largest move.
        share: largest move as a share of the box's width or height.
    """
    reach = torch.maximum(share * _size(boxes_xyxy), torch.full_like(boxes_xyxy[:, :2], pixels)).repeat(1, 2)
    moved = boxes_xyxy + (2 * uniforms - 1) * reach
    low, high = moved[:, :2], moved[:, 2:]
    return torch.cat([torch.minimum(low, high - 1), torch.maximum(high, low + 1)], dim=1)


def shift_boxes(boxes_xyxy: Tensor, uniforms: Tensor, *, pixels: float) -> Tensor:
    """Move each box as a whole by up to `pixels` or half its shorter side, whichever is smaller, in x and in y.

    `uniforms` [n,2] in [0,1) decide by how much. Source: SAM-Med2D, which moves by whole pixels.
    """
    reach = (_size(boxes_xyxy).amin(1, keepdim=True) / 2).clamp(max=pixels)
    return boxes_xyxy + ((2 * uniforms - 1) * reach).repeat(1, 2)


def _size(boxes_xyxy: Tensor) -> Tensor:
    """Return width and height [n,2]."""
    return boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
