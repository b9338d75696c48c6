"""Augmentation of whole batches where the batch lies (CPU or GPU), each sample by its own random numbers.

One resampling does rotation, scaling, shift, flips and elastic deformation together; then enhancement of the target,
contrast, brightness, gamma, bias field, blur and noise on intensities in [0,1]. Zero, the value of padding, is air.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.batch import AUGMENTING, Batch, uniforms

_ELASTIC_KNOTS, _BIAS_KNOTS, _BLUR_TAPS = 5, 4, 7


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far a sample may be moved and changed; every range is symmetric around "unchanged", zero switches it off.

    rotate: radians. scale: share of the size; anisotropy: further share, one axis against the other. shift: share of
    the window. elastic: pixels, standard deviation of a smooth displacement. flip: axes that may be mirrored, of "h"
    and "w". contrast: share; gamma: of its logarithm; brightness: of the intensity range; bias: of the logarithm of
    a smooth field. enhance: of the intensity range, how far the target itself may be brighter or darker, as with
    and without contrast agent. blur: probability, of up to blur_sigma pixels. noise: largest standard deviation.
    """

    rotate: float = 0.0
    scale: float = 0.0
    anisotropy: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    flip: tuple[str, ...] | list[str] = ()
    contrast: float = 0.0
    gamma: float = 0.0
    brightness: float = 0.0
    bias: float = 0.0
    enhance: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 1.2
    noise: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name != "flip" and not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"expected augment.{entry.name} to be a number ≥ 0; got {value!r}")
        if not max(self.scale, self.anisotropy) < 1:
            raise ValueError(f"expected augment.scale and anisotropy < 1; got {self.scale} and {self.anisotropy}")
        if not set(self.flip) <= {"h", "w"}:
            raise ValueError(f"expected augment.flip to name axes of h and w; got {list(self.flip)}")

    @property
    def changes_images(self) -> bool:
        """Whether an image may look different each time."""
        return any(bool(getattr(self, entry.name)) for entry in fields(self) if entry.name != "blur_sigma")

    def __call__(self, batch: Batch, *, size: tuple[int, int]) -> Batch:
        """Return the batch changed and cut to its central `size` (h, w); targets stay 0/1."""
        count = 24 + 2 * _ELASTIC_KNOTS**2 + _BIAS_KNOTS**2
        draws = _Draws(uniforms(batch.keys, AUGMENTING, count).to(batch.image.device))
        places = self._sampling_grid(draws, batch.image.shape[-2:], size)
        image = F.grid_sample(batch.image, places, mode="bilinear", align_corners=False)
        target = F.grid_sample(batch.target.float(), places, mode="bilinear", align_corners=False)
        ignored = batch.ignored
        if ignored is not None:
            ignored = F.grid_sample(ignored.float(), places, mode="bilinear", align_corners=False) >= 0.5
            target = target.masked_fill(ignored, 0.0)
        image = image + target.amax(1, keepdim=True) * (draws.symmetric() * self.enhance)
        image = self._intensities(image, draws)
        if self.noise:
            image = image + _normals(batch, image) * (draws.one() * self.noise)
        return replace(batch, image=image.clamp(0.0, 1.0), target=(target >= 0.5).to(torch.uint8), ignored=ignored)

    def _sampling_grid(self, draws: _Draws, full: torch.Size, size: tuple[int, int]) -> Tensor:
        """Return where each output pixel [b,h,w] reads its input, in grid_sample's coordinates (x, y in [−1,1])."""
        h, w = size
        angle = draws.symmetric()[:, 0, 0, 0] * self.rotate
        scale, ratio = 1 + draws.symmetric() * self.scale, 1 + draws.symmetric() * self.anisotropy
        shift_x, shift_y = draws.symmetric() * self.shift * w, draws.symmetric() * self.shift * h
        mirror_w = torch.where((draws.one() < 0.5) & ("w" in self.flip), -1.0, 1.0)
        mirror_h = torch.where((draws.one() < 0.5) & ("h" in self.flip), -1.0, 1.0)
        wobble = draws.smooth_field(2, _ELASTIC_KNOTS, size) * self.elastic
        device = angle.device
        y, x = torch.meshgrid(
            torch.arange(h, device=device) - (h - 1) / 2, torch.arange(w, device=device) - (w - 1) / 2, indexing="ij"
        )
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        x_in = (cos * x - sin * y) * (mirror_w * ratio / scale)[:, 0] + shift_x[:, 0] + wobble[:, 0]
        y_in = (sin * x + cos * y) * (mirror_h / ratio / scale)[:, 0] + shift_y[:, 0] + wobble[:, 1]
        return torch.stack([x_in * 2 / full[1], y_in * 2 / full[0]], dim=-1)

    def _intensities(self, image: Tensor, draws: _Draws) -> Tensor:
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        image = (image - mean) * (1 + draws.symmetric() * self.contrast) + mean
        image = image + draws.symmetric() * self.brightness
        image = image.clamp(0.0, 1.0) ** torch.exp(draws.symmetric() * self.gamma)
        field = draws.smooth_field(1, _BIAS_KNOTS, tuple(image.shape[-2:]))
        image = image * torch.exp(field * self.bias)
        chosen, sigma = draws.one() < self.blur, draws.one() * self.blur_sigma
        return torch.where(chosen, _blurred(image, sigma), image) if self.blur else image


class _Draws:
    """Hands out a batch's uniform numbers column by column, so that each use has its own whatever is switched off."""

    def __init__(self, numbers: Tensor) -> None:
        self._columns: Iterator[Tensor] = iter(numbers.unbind(1))

    def one(self) -> Tensor:
        """Return one number in [0,1) a sample, shaped [b,1,1,1]."""
        return next(self._columns)[:, None, None, None]

    def symmetric(self) -> Tensor:
        """Return one number in [−1,1) a sample, shaped [b,1,1,1]."""
        return 2 * self.one() - 1

    def smooth_field(self, fields: int, knots: int, size: tuple[int, ...]) -> Tensor:
        """Return smooth random fields [b,fields,h,w] of about unit standard deviation at their knots."""
        values = torch.stack([next(self._columns) for _ in range(fields * knots**2)], dim=1)
        coarse = ((2 * values - 1) * math.sqrt(3.0)).reshape(-1, fields, knots, knots)
        return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)


def _blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Return images [b,c,h,w] blurred by a separable Gaussian of each sample's own `sigma` [b,1,1,1] pixels."""
    b, c, h, w = image.shape
    taps = torch.arange(_BLUR_TAPS, device=image.device) - _BLUR_TAPS // 2
    kernel = torch.exp(-0.5 * (taps / sigma.reshape(b, 1).clamp(min=0.05)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = image.reshape(1, b * c, h, w)
    flat = F.conv2d(flat, kernel[:, None, :, None], padding=(_BLUR_TAPS // 2, 0), groups=b * c)
    flat = F.conv2d(flat, kernel[:, None, None, :], padding=(0, _BLUR_TAPS // 2), groups=b * c)
    return flat.reshape(b, c, h, w)


def _normals(batch: Batch, like: Tensor) -> Tensor:
    """Return standard normal noise of the shape of `like`, sample by sample a function of its key (and the device)."""
    noise = torch.empty_like(like)
    for row, key in zip(noise, batch.keys, strict=True):
        generator = torch.Generator(like.device).manual_seed(int(key.rng(AUGMENTING).integers(2**62)))
        row.normal_(generator=generator)
    return noise
