"""A prompt drawn as channels of an image, in which all that is absent is zero everywhere.

Clicks are discs, a box is its area, a mask what it says of each pixel; scribbles are lines three pixels wide, lassos
the areas within them.

Source: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", ICIP 2022: discs
of a fixed radius, and the previous answer as a channel. Differences: boxes, scribbles and lassos have channels too; a
mask counts from −1 for certain background to 1, not from 0, because there may be none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def channels_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the channels of kinds of prompts, in order."""
    return tuple(name for kind in kinds for name in CHANNELS_OF[kind])


def draw_prompts(prompt: Prompt, size: tuple[int, int], *, click_radius: float, kinds: Sequence[str] = KINDS) -> Tensor:
    """Return prompts as images [n,c,h,w], one channel for each of `channels_of(kinds)`.

    Args:
        prompt: n of them; masks, scribbles and lassos are of `size`.
        size: pixels (h, w) of the image that they are about.
        click_radius: pixels from a click's pixel to the edge of its disc, from 0 (that pixel alone) to 32.
        kinds: those that are drawn, of KINDS.
    """
    drawn: dict[str, Callable[[], Tensor]] = {
        "clicks": lambda: _clicks(prompt, size, click_radius),
        "box": lambda: _areas(prompt.boxes_xyxy, size)[:, None],
        "mask": lambda: _certainty(prompt, size)[:, None],
        "scribbles": lambda: F.max_pool2d(_strokes(prompt, prompt.scribbles, size), 3, stride=1, padding=1),
        "lassos": lambda: _strokes(prompt, prompt.lassos, size),
    }
    return torch.cat([drawn[kind]() for kind in kinds], dim=1)


def _clicks(prompt: Prompt, size: tuple[int, int], radius: float) -> Tensor:
    """Return images [n,2,h,w] of clicks inside and outside."""
    return torch.stack([_discs(prompt.points_xy, prompt.point_labels == label, size, radius) for label in (1, 0)], 1)


def _strokes(prompt: Prompt, drawn: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Return strokes [n,2,h,w] as they are, and 0 where there are none."""
    return prompt.points_xy.new_zeros(len(prompt), 2, *size) if drawn is None else drawn.to(prompt.points_xy.dtype)


def _discs(points_xy: Tensor, shown: Tensor, size: tuple[int, int], radius: float) -> Tensor:
    """Return images [n,h,w], 1 in discs around the pixels of those points [n,c,2] that are `shown` [n,c], else 0.

    Pixels are written one by one: with a thousand clicks, maps of their distances would fill the memory.
    """
    h, w = size
    x, y = (points_xy.round()[:, :, None] + torch.tensor(_disc(radius), device=points_xy.device)).unbind(-1)
    drawn = shown[:, :, None] & (x >= 0) & (x < w) & (y >= 0) & (y < h)
    place = torch.where(drawn, y * w + x, h * w).long().flatten(1)
    image = points_xy.new_zeros(points_xy.shape[0], h * w + 1)  # the last place is for what is not drawn
    return image.scatter(1, place, 1.0)[:, :-1].unflatten(1, size)


def _disc(radius: float) -> list[tuple[float, float]]:
    """Return the steps (x, y) from a pixel to all pixels of the disc around it."""
    steps = range(-int(radius), int(radius) + 1)
    return [(float(x), float(y)) for y in steps for x in steps if x * x + y * y <= radius * radius]


def _areas(boxes_xyxy: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images [n,h,w] of the share of each pixel that lies in its box [n,4]; 0 where there is no box."""
    present = torch.isfinite(boxes_xyxy).all(1, keepdim=True)
    x0, y0, x1, y1 = torch.where(present, boxes_xyxy, 0.0).unbind(1)
    return _covered(y0, y1, size[0])[:, :, None] * _covered(x0, x1, size[1])[:, None, :]


def _covered(low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return how much of each pixel [i, i + 1) of a line lies between `low` and `high` [n]: [n,length]."""
    pixels = torch.arange(length, device=low.device, dtype=low.dtype)
    return (torch.minimum(pixels + 1, high[:, None]) - torch.maximum(pixels, low[:, None])).clamp(min=0)


def _certainty(prompt: Prompt, size: tuple[int, int]) -> Tensor:
    """Return what masks say, [n,h,w]: 2p − 1 of the probability p, and 0, as of p = ½, where there is no mask."""
    if prompt.mask_logits is None:
        return torch.zeros(len(prompt), *size, device=prompt.points_xy.device)
    certainty = 2 * prompt.mask_logits[:, 0].float().sigmoid() - 1
    return torch.where(prompt.has_mask[:, None, None], certainty, 0.0)
