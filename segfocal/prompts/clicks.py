"""Clicks: uniform in a region, central in it, or on the errors of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segfocal.prompts.prompt import ABSENT
from segfocal.prompts.regions import centres_of, depth_of

ErrorClicks = Literal["uniform", "largest"]


def clicks_in(region: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw pixels of each region [n,h,w] or [n,d,h,w] (bool), uniformly and with replacement; return xy and found [n].

    Uniform numbers [n] give one click a region, xy [n,2] or xyz [n,3]; [n,c] give c clicks, xy [n,c,2]. An empty region
    gives zeros and found False.
    """
    flat = region.flatten(1)
    count = flat.sum(1)
    draws = _columns(uniforms.to(flat.device))
    wanted = (draws * count[:, None]).long() + 1  # the wanted-th pixel of the region, counted from one
    index = torch.searchsorted(flat.cumsum(1), wanted)
    return _placed(index, count > 0, region, like=uniforms)


def central_clicks_in(region: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw pixels of each region as `clicks_in` does, but in proportion to their distance from its border.

    The distances are computed on the CPU (`depth_of`).
    """
    heights = depth_of(region).flatten(1).double().cumsum(1)
    draws = _columns(uniforms.to(heights.device)).double()
    index = torch.searchsorted(heights, draws * heights[:, -1:], right=True)  # the first pixel that lies above the draw
    return _placed(index, heights[:, -1] > 0, region, like=uniforms)


def error_clicks(
    logits: Tensor, target: Tensor, uniforms: Tensor, *, at: ErrorClicks = "uniform"
) -> tuple[Tensor, Tensor]:
    """Click where an answer is wrong; return xy [n,2] and labels [n], 1 on a missed target and 0 on a false alarm.

    Where nothing is wrong the label is ABSENT.

    Args:
        logits: [n,1,h,w], or [n,1,d,h,w] of volumes; the mask is where they are > 0.
        target: likewise.
        uniforms: [n] in [0,1); [n,c] for c clicks at once, xy [n,c,2] and labels [n,c].
        at: "uniform", the default, draws from all wrong pixels, as SAM-Med2D. "largest" takes the middle of the largest
            connected error (the pixel farthest from its border), then of the next largest; further clicks are uniform.
            It finds them on the CPU.
    """
    truth = target[:, 0] > 0.5
    wrong = (logits[:, 0] > 0) != truth
    draws = _columns(uniforms)
    xy, found = clicks_in(wrong, draws)
    if at == "largest":
        centres = centres_of(wrong & truth, wrong & ~truth, count=draws.shape[1])
        xy = torch.where(torch.isnan(centres), xy, centres)
    missed = truth.flatten(1).gather(1, _index(xy, truth.shape[1:]))
    labels = torch.where(found[:, None], missed.long(), ABSENT)
    return (xy, labels) if uniforms.ndim == 2 else (xy[:, 0], labels[:, 0])


def _columns(uniforms: Tensor) -> Tensor:
    return uniforms if uniforms.ndim == 2 else uniforms[:, None]


def _index(xy: Tensor, size: Sequence[int]) -> Tensor:
    """Return the flat indices [n,c] of pixels xy [n,c,2], or xyz [n,c,3], in an image of `size` (h, w) or (d, h, w)."""
    index = torch.zeros_like(xy[..., 0], dtype=torch.long)
    for place, side in zip(xy.flip(-1).long().unbind(-1), size, strict=True):
        index = index * side + place
    return index


def _placed(index: Tensor, found: Tensor, region: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return flat pixel indices [n,c] as xy, [n,c,2] or [n,2] as `like` is [n,c] or [n]; zeros where not found."""
    index = index.clamp(max=region[0].numel() - 1)
    places = []
    for side in reversed(region.shape[1:]):
        places.append(index % side)
        index = index // side
    xy = torch.stack(places, dim=-1).float()
    xy = torch.where(found[:, None, None], xy, 0.0)
    return (xy if like.ndim == 2 else xy[:, 0]), found
