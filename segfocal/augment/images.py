"""Operations of an augmentation on pixels: reading them at other places, blur, low resolution, smooth fields, noise."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.batch import AUGMENTING, SampleKey

_BLUR_TAPS = 7


def read_at(images: Tensor, places: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Return images [b,c,d,h,w] read at `places` [b,h',w',2] (grid_sample's x, y) in each slice; outside is 0."""
    b, c, d = images.shape[:3]
    found = F.grid_sample(images.flatten(1, 2), places, mode=mode, align_corners=False)
    return found.reshape(b, c, d, *found.shape[-2:])


def decided(values: Tensor, masks: Tensor, places: Tensor) -> Tensor:
    """Return moved masks as 0 and 1 (uint8), decided by the share of each pixel that lies in each mask.

    A pixel belongs to a mask from one half on. Where masks exclude each other around a pixel, at most one gets it: the
    largest, as soon as all of them together reach one half. So no seam opens where three classes meet.

    Args:
        values: [b,k,d,h',w'], the masks read linearly at `places`.
        masks: [b,k,d,h,w] of 0 and 1, before they were moved.
        places: [b,h',w',2], where they were read.
    """
    decision = (values >= 0.5).to(torch.uint8)
    if masks.shape[1] == 1:
        return decision
    count = masks.sum(1, keepdim=True)
    united = torch.cat([count.clamp(max=1), (count - 1).clamp(min=0)], dim=1).float()
    covered, excess = read_at(united, places).split(1, dim=1)
    largest = torch.zeros_like(decision).scatter_(1, values.argmax(1, keepdim=True), 1) * (covered >= 0.5)
    return torch.where(excess > 0, decision, largest)


def with_depth(images: Tensor, depth: int, *, mirrored: Tensor | None) -> Tensor:
    """Return the central `depth` slices of images [b,c,d,h,w], padded evenly by 0; reversed where `mirrored` [b]."""
    room = images.shape[2] - depth
    if room:
        before = int(room / 2)
        images = F.pad(images, (0, 0, 0, 0, -before, before - room))
    if mirrored is not None and depth > 1:
        images = torch.where(mirrored[:, None, None, None, None], images.flip(2), images)
    return images


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Return images [b,c,h,w] blurred by a separable Gaussian of each sample's own `sigma` [b,1,1,1] pixels."""
    b, c, h, w = images.shape
    taps = torch.arange(_BLUR_TAPS, device=images.device) - _BLUR_TAPS // 2
    kernel = torch.exp(-0.5 * (taps / sigma.reshape(b, 1).clamp(min=0.05)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = images.reshape(1, b * c, h, w)
    flat = F.conv2d(flat, kernel[:, None, :, None], padding=(_BLUR_TAPS // 2, 0), groups=b * c)
    flat = F.conv2d(flat, kernel[:, None, None, :], padding=(0, _BLUR_TAPS // 2), groups=b * c)
    return flat.reshape(b, c, h, w)


def coarsened(images: Tensor, factors: list[float]) -> Tensor:
    """Return images [b,c,h,w] averaged over pixels larger by each sample's factor ≥ 1, and interpolated back."""
    images = images.clone()
    for sample, factor in zip(images.split(1), factors, strict=True):
        if factor > 1:
            h, w = (max(1, round(side / factor)) for side in sample.shape[-2:])
            low = F.interpolate(sample, size=(h, w), mode="area")
            sample.copy_(F.interpolate(low, size=sample.shape[-2:], mode="bilinear", align_corners=False))
    return images


def interpolated(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps [n,f,k,l] interpolated bicubically to [n,f,h,w], corner on corner, as F.interpolate does.

    On a CPU it is two products of matrices, in a small part of the time. A GPU may round products to 10 bits, so there
    it is F.interpolate itself.
    """
    if coarse.device.type != "cpu":
        return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)
    rows, columns = (_bicubic(knots, side) for knots, side in zip(coarse.shape[-2:], size, strict=True))
    return rows @ coarse @ columns.T


@cache
def _bicubic(knots: int, side: int) -> Tensor:
    """Return the weights [side,knots] of a line's knots in its pixels: what F.interpolate makes of each knot alone."""
    alone = torch.eye(knots)[None, None]
    return F.interpolate(alone, size=(side, knots), mode="bicubic", align_corners=True)[0, 0]


def normals(keys: tuple[SampleKey, ...], like: Tensor) -> Tensor:
    """Return standard normal noise of the shape of `like`, sample by sample a function of its key (and the device)."""
    noise = torch.empty_like(like)
    for row, key in zip(noise, keys, strict=True):
        generator = torch.Generator(like.device).manual_seed(int(key.rng(AUGMENTING).integers(2**62)))
        row.normal_(generator=generator)
    return noise
