"""Boxes around targets, exact or as inexact as a user draws them."""

from __future__ import annotations

import torch
from torch import Tensor


def boxes_of(target: Tensor) -> Tensor:
    """Return the bounding box [n,4] of each mask [n,1,h,w], [n,6] of [n,1,d,h,w]; a row of NaN where one is empty."""
    inside = target[:, 0] > 0.5
    axes = range(inside.ndim - 1, 0, -1)  # x first
    extents = [_extent(inside.movedim(axis, 1).flatten(2).any(2)) for axis in axes]
    boxes = torch.stack([low for low, _ in extents] + [high for _, high in extents], dim=1)
    return torch.where(inside.flatten(1).any(1, keepdim=True), boxes, torch.nan)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and one past the last True of each row [n,length]."""
    size = occupied.shape[1]
    first = occupied.to(torch.uint8).argmax(1)
    last = size - occupied.flip(1).to(torch.uint8).argmax(1)
    return first.float(), last.float()


def jitter_boxes(boxes_xyxy: Tensor, uniforms: Tensor, *, pixels: float, share: float) -> Tensor:
    """Return boxes with each side moved by itself, inward or outward; at least a pixel is left between two sides.

    Args:
        boxes_xyxy: [n,4], or [n,6] of volumes; a row of NaN stays one.
        uniforms: as many in [0,1), one for each side: 0.5 leaves it where it is.
        pixels: the largest move, ≥ 0.
        share: the largest move as a share of the box's length along that axis, ≥ 0; the larger of both limits counts.
    """
    reach = torch.maximum(share * _size(boxes_xyxy), torch.full_like(uniforms[:, : _axes(boxes_xyxy)], pixels))
    moved = boxes_xyxy + (2 * uniforms - 1) * reach.repeat(1, 2)
    low, high = moved.chunk(2, dim=1)
    return torch.cat([torch.minimum(low, high - 1), torch.maximum(high, low + 1)], dim=1)


def shift_boxes(boxes_xyxy: Tensor, uniforms: Tensor, *, pixels: float) -> Tensor:
    """Return boxes [n,4] or [n,6] moved as a whole by `uniforms` in [0,1), one for each axis, x first.

    The largest move is `pixels` or half the shorter side, whichever is smaller. Source: SAM-Med2D, which moves by whole
    pixels.
    """
    reach = (_size(boxes_xyxy).amin(1, keepdim=True) / 2).clamp(max=pixels)
    return boxes_xyxy + ((2 * uniforms - 1) * reach).repeat(1, 2)


def _size(boxes_xyxy: Tensor) -> Tensor:
    """Return width and height [n,2], of volumes depth too."""
    low, high = boxes_xyxy.chunk(2, dim=1)
    return high - low


def _axes(boxes_xyxy: Tensor) -> int:
    return boxes_xyxy.shape[1] // 2
