"""A prompt drawn as channels of an image, in which all that is absent is zero everywhere.

Clicks are discs (balls in volumes), a box is its area, a mask what it says of each pixel; scribbles are lines three
pixels wide, lassos the areas within them.

Source: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", ICIP 2022: discs
of a fixed radius, and the previous answer as a channel. Differences: boxes, scribbles and lassos have channels too; a
mask counts from −1 for certain background to 1, not from 0, because there may be none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.prompts.prompt import Prompt

CHANNELS_OF = {
    "clicks": ("clicks inside", "clicks outside"),
    "box": ("box",),
    "mask": ("mask",),
    "scribbles": ("scribbles inside", "scribbles outside"),
    "lassos": ("lassos inside", "lassos outside"),
}
KINDS = tuple(CHANNELS_OF)
LARGEST_RADIUS = 32.0

Size = tuple[int, ...]  # (h, w) or (d, h, w)


def channels_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the channels of kinds of prompts, in order."""
    return tuple(name for kind in kinds for name in CHANNELS_OF[kind])


def draw_prompts(prompt: Prompt, size: Size, *, click_radius: float, kinds: Sequence[str] = KINDS) -> Tensor:
    """Return prompts as images [n,c,h,w] or volumes [n,c,d,h,w], a channel for each of `channels_of(kinds)`.

    Args:
        prompt: n of them; masks, scribbles and lassos are of `size`.
        size: pixels (h, w) of the image, or (d, h, w) of the volume, that they are about.
        click_radius: pixels from a click's pixel to the edge of its disc, from 0 (that pixel alone) to 32.
        kinds: those that are drawn, of KINDS.
    """
    drawn: dict[str, Callable[[], Tensor]] = {
        "clicks": lambda: _clicks(prompt, size, click_radius),
        "box": lambda: _areas(prompt.boxes_xyxy, size)[:, None],
        "mask": lambda: _certainty(prompt, size)[:, None],
        "scribbles": lambda: _widened(_strokes(prompt, prompt.scribbles, size)),
        "lassos": lambda: _strokes(prompt, prompt.lassos, size),
    }
    return torch.cat([drawn[kind]() for kind in kinds], dim=1)


def _clicks(prompt: Prompt, size: Size, radius: float) -> Tensor:
    """Return images [n,2,*size] of clicks inside and outside."""
    return torch.stack([_discs(prompt.points_xy, prompt.point_labels == label, size, radius) for label in (1, 0)], 1)


def _widened(lines: Tensor) -> Tensor:
    """Return lines [n,2,*size] three pixels wide."""
    pool = F.max_pool2d if lines.ndim == 4 else F.max_pool3d
    return pool(lines, 3, stride=1, padding=1)


def _strokes(prompt: Prompt, drawn: Tensor | None, size: Size) -> Tensor:
    """Return strokes [n,2,*size] as they are, and 0 where there are none."""
    return prompt.points_xy.new_zeros(len(prompt), 2, *size) if drawn is None else drawn.to(prompt.points_xy.dtype)


def _discs(points_xy: Tensor, shown: Tensor, size: Size, radius: float) -> Tensor:
    """Return images [n,*size], 1 in discs around the pixels of those points [n,c,2] that are `shown` [n,c], else 0.

    Pixels are written one by one: with a thousand clicks, maps of their distances would fill the memory.
    """
    pixels = math.prod(size)
    disc = torch.tensor(_disc(radius, len(size)), device=points_xy.device)
    points = points_xy.double().round()  # which counts the voxels of any window
    drawn, place = shown[:, :, None], torch.zeros_like(points[:, :, :1])
    for own, side in zip((points[:, :, None] + disc).flip(-1).unbind(-1), size, strict=True):
        drawn, place = drawn & (own >= 0) & (own < side), place * side + own
    place = torch.where(drawn, place, pixels).long().flatten(1)
    image = points_xy.new_zeros(points_xy.shape[0], pixels + 1)  # the last place is for what is not drawn
    return image.scatter(1, place, 1.0)[:, :-1].unflatten(1, size)


def _disc(radius: float, axes: int) -> list[list[float]]:
    """Return the steps (x, y), or (x, y, z), from a pixel to all pixels of the disc, or ball, around it."""
    steps = [[float(one) for one in step] for step in product(range(-int(radius), int(radius) + 1), repeat=axes)]
    return [step[::-1] for step in steps if sum(one * one for one in step) <= radius * radius]


def _areas(boxes_xyxy: Tensor, size: Size) -> Tensor:
    """Return images [n,*size] of the share of each pixel that lies in its box [n,4] or [n,6]; 0 without a box."""
    present = torch.isfinite(boxes_xyxy).all(1, keepdim=True)
    low, high = torch.where(present, boxes_xyxy, 0.0).flip(1).chunk(2, dim=1)[::-1]  # of the slowest axis first
    area = _covered(low[:, 0], high[:, 0], size[0])
    for axis, side in enumerate(size[1:], start=1):
        area = area.unsqueeze(-1) * _covered(low[:, axis], high[:, axis], side).unflatten(0, (-1, *[1] * axis))
    return area


def _covered(low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return how much of each pixel [i, i + 1) of a line lies between `low` and `high` [n]: [n,length]."""
    pixels = torch.arange(length, device=low.device, dtype=low.dtype)
    return (torch.minimum(pixels + 1, high[:, None]) - torch.maximum(pixels, low[:, None])).clamp(min=0)


def _certainty(prompt: Prompt, size: Size) -> Tensor:
    """Return what masks say, [n,*size]: 2p − 1 of the probability p, and 0, as of p = ½, where there is no mask."""
    if prompt.mask_logits is None:
        return torch.zeros(len(prompt), *size, device=prompt.points_xy.device)
    certainty = 2 * prompt.mask_logits[:, 0].float().sigmoid() - 1
    return torch.where(prompt.has_mask.unflatten(0, (-1, *[1] * len(size))), certainty, 0.0)
