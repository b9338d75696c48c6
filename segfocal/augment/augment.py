"""Augmentation of whole batches on the device they are on, each sample by its own random numbers.

`Augment.__call__` shows the order of the work:

1. `random_parameters` draws a row of uniform numbers for each sample.
2. Geometry: one resampling does rotation, scaling, shift, in-plane flips and elastic deformation together.
3. Intensities, within [0,1]: enhancement of the target, intensity window, contrast, brightness, gamma, bias field,
   blur, low resolution, noise.

Padding is 0, which is air in CT. Volumes [b,c,d,h,w] are moved in plane, every slice alike, and mirrored along d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from segfocal.augment.images import blurred, coarsened, decided, normals, read_at, with_depth
from segfocal.augment.random_parameters import BIAS_KNOTS, ELASTIC_KNOTS, GATED, RandomParameters, random_parameters
from segfocal.batch import Batch, SampleKey

_NOT_NUMBERS = ("flip", "labels", "per_channel", "probability")
_CHANGE_NOTHING_ALONE = ("blur_sigma", "coarse_factor", "labels", "per_channel", "probability")


class Augmentation(Protocol):
    """The interface of an augmentation, as training calls it on each batch."""

    @property
    def changes_images(self) -> bool:
        """Whether an image may look different each time."""

    def __call__(self, batch: Batch, *, size: tuple[int, ...]) -> Batch:
        """Return the batch changed and cut to its central `size`, each sample a function of its key."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far a sample may be moved and changed, in the order in which it happens.

    Each range is symmetric around "unchanged" unless said otherwise. 0, the default, switches a change off.

    Args:
        rotate: radians, in plane.
        scale: share of the size, in [0,1).
        zoom: further share of the size, enlarging only.
        anisotropy: further share by which one axis grows against the other, in [0,1).
        shift: share of the window's height and width.
        elastic: pixels; standard deviation of a smooth displacement.
        flip: axes that are mirrored half of the time, of "d", "h" and "w"; none by default, as bodies have a left side.
        labels: how targets are read: "linear", then cut at one half (smoother borders, see `decided`), or "nearest".
        enhance: share of the intensity range by which the target alone is brighter or darker, as by contrast agent.
        window_jitter: share of the intensity window by which each of its ends moves, in [0,0.5).
        contrast: share, around the sample's mean.
        brightness: share of the intensity range.
        gamma: natural logarithm of the exponent.
        bias: standard deviation of the logarithm of a smooth factor, as an MR coil's.
        blur: probability in [0,1].
        blur_sigma: pixels; largest standard deviation of the blur, which 7 taps still hold.
        coarse: probability in [0,1] of a lower resolution.
        coarse_factor: how many times as large its pixels are at most, ≥ 1; 2 as in nnU-Net.
        noise: share of the intensity range; largest standard deviation.
        per_channel: True gives each channel intensity changes of its own, as for sequences of MR; False, the default,
            the same to all, as for neighbouring slices.
        probability: of making a change at all, in [0,1], by its name (`GATED`); always for those not named, or if None.

    Raises:
        ValueError: an option out of its range, an unknown axis or name.
    """

    rotate: float = 0.0
    scale: float = 0.0
    zoom: float = 0.0
    anisotropy: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    flip: tuple[str, ...] | list[str] = ()
    labels: Literal["linear", "nearest"] = "linear"
    enhance: float = 0.0
    window_jitter: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    gamma: float = 0.0
    bias: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 1.2
    coarse: float = 0.0
    coarse_factor: float = 2.0
    noise: float = 0.0
    per_channel: bool = False
    probability: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name not in _NOT_NUMBERS and not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"expected augment.{entry.name} to be a number ≥ 0; got {value!r}")
        if not max(self.scale, self.anisotropy) < 1:
            raise ValueError(f"expected augment.scale and anisotropy < 1; got {self.scale} and {self.anisotropy}")
        if not self.window_jitter < 0.5:
            raise ValueError(f"expected augment.window_jitter < 0.5; got {self.window_jitter}")
        if not self.coarse_factor >= 1:
            raise ValueError(f"expected augment.coarse_factor ≥ 1; got {self.coarse_factor}")
        if not set(self.flip) <= {"d", "h", "w"}:
            raise ValueError(f"expected augment.flip to name axes of d, h and w; got {list(self.flip)}")
        if self.labels not in ("linear", "nearest"):
            raise ValueError(f"expected augment.labels linear or nearest; got {self.labels!r}")
        if not isinstance(self.per_channel, bool):
            raise ValueError(f"expected augment.per_channel true or false; got {self.per_channel!r}")
        self._check_probability()

    def _check_probability(self) -> None:
        given = self.probability
        if given is None:
            return
        if not isinstance(given, Mapping) or not set(given) <= set(GATED):
            raise ValueError(f"expected augment.probability to name settings of {', '.join(GATED)}; got {given}")
        if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in given.values()):
            raise ValueError(f"expected each augment.probability in [0,1]; got {dict(given)}")

    @property
    def changes_images(self) -> bool:
        """Whether an image may look different each time."""
        return any(bool(getattr(self, entry.name)) for entry in fields(self) if entry.name not in _CHANGE_NOTHING_ALONE)

    def __call__(self, batch: Batch, *, size: tuple[int, ...]) -> Batch:
        """Return the batch changed and cut to its central `size`, (h, w) or of volumes (d, h, w).

        Integer targets stay 0 or 1. Soft ones, of floating point, are moved and stay soft. `batch.ignored` moves along,
        and targets are 0 where it is True; so do the numbers of `batch.cells`, each the nearest one.
        """
        if batch.image.ndim == 4:
            return _as_slices(self(_as_volumes(batch), size=(1, *size)))
        parameters, of_channels = random_parameters(
            batch.keys,
            channels=batch.image.shape[1] if self.per_channel else 1,
            probability=self.probability or {},
            device=batch.image.device,
        )
        moved, share = self._moved(batch, parameters, size)
        image = self._enhanced(moved.image, share, parameters)
        rows = image.flatten(0, 1) if self.per_channel else image.flatten(1, 2)  # what changes alike is one row
        image = self._intensities(rows, of_channels).reshape(image.shape)
        image = self._noisy(image, batch.keys, of_channels)
        return replace(moved, image=image.clamp_(0.0, 1.0))

    # Geometry: where each output pixel is read from.

    def _moved(self, batch: Batch, parameters: RandomParameters, size: tuple[int, ...]) -> tuple[Batch, Tensor]:
        """Return the moved batch, and the share [b,k,d,h,w] of each pixel that lies in each target."""
        full = batch.image.shape[-2:]
        places = self._sampling_grid(parameters, (full[0], full[1]), (size[1], size[2]))
        mirrored = parameters.uniform("mirror_d")[:, 0, 0, 0] < 0.5 if "d" in self.flip else None
        image, target = (with_depth(part, size[0], mirrored=mirrored) for part in (batch.image, batch.target))
        share = read_at(target.float(), places, mode="nearest" if self.labels == "nearest" else "bilinear")
        moved = replace(batch, image=read_at(image, places), target=share)
        if not target.is_floating_point():
            nearest = self.labels == "nearest"
            moved = replace(moved, target=share.to(torch.uint8) if nearest else decided(share, target, places))
        if batch.cells is not None:
            numbers = with_depth(batch.cells.float(), size[0], mirrored=mirrored)  # exact below 2²⁴
            moved = replace(moved, cells=read_at(numbers, places, mode="nearest").to(batch.cells.dtype))
        if batch.ignored is not None:
            inside = with_depth(batch.ignored.float(), size[0], mirrored=mirrored)
            ignored = read_at(inside, places, mode="nearest") > 0.5
            target, share = moved.target.masked_fill(ignored, 0), share.masked_fill(ignored, 0.0)
            moved = replace(moved, target=target, ignored=ignored)
        return moved, share

    def _sampling_grid(self, parameters: RandomParameters, full: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Return where each output pixel reads its input: [b,h,w,2], grid_sample's x and y in [−1,1].

        Args:
            parameters: of b samples.
            full: (h, w) of the input, which has a margin around the window.
            size: (h, w) of the output.
        """
        h, w = size
        angle = parameters.symmetric("rotate")[:, 0, 0, 0] * self.rotate
        scale = 1 + parameters.symmetric("scale") * self.scale
        if self.zoom:
            scale = scale * (1 + parameters.strength("zoom") * self.zoom)
        ratio = 1 + parameters.symmetric("anisotropy") * self.anisotropy
        shift_x = parameters.symmetric("shift_w", of="shift") * self.shift * w + _half(full[1], w)
        shift_y = parameters.symmetric("shift_h", of="shift") * self.shift * h + _half(full[0], h)
        mirror_w = torch.where((parameters.uniform("mirror_w") < 0.5) & ("w" in self.flip), -1.0, 1.0)
        mirror_h = torch.where((parameters.uniform("mirror_h") < 0.5) & ("h" in self.flip), -1.0, 1.0)
        x = torch.arange(w, device=angle.device) - (w - 1) / 2
        y = torch.arange(h, device=angle.device)[:, None] - (h - 1) / 2
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        # In place from here on: on a CPU new memory costs more than the arithmetic.
        x_in = (cos * x - sin * y).mul_((mirror_w * ratio / scale)[:, 0]).add_(shift_x[:, 0])
        y_in = (sin * x + cos * y).mul_((mirror_h / ratio / scale)[:, 0]).add_(shift_y[:, 0])
        if self.elastic:
            wobble = parameters.smooth_field("elastic", ELASTIC_KNOTS, size).mul_(self.elastic)
            x_in, y_in = x_in.add_(wobble[:, 0]), y_in.add_(wobble[:, 1])
        places = x_in.new_empty(*x_in.shape, 2)
        torch.div(x_in.mul_(2), full[1], out=places[..., 0])
        torch.div(y_in.mul_(2), full[0], out=places[..., 1])
        return places

    # Intensities: in place where the image is new, as memory costs more than arithmetic.

    def _enhanced(self, image: Tensor, share: Tensor, parameters: RandomParameters) -> Tensor:
        """Return images [b,c,d,h,w] brighter or darker by the share [b,k,d,h,w] of a pixel in its targets."""
        if self.enhance:
            image.add_(share.amax(1, keepdim=True) * (parameters.symmetric("enhance") * self.enhance)[:, None])
        return image

    def _intensities(self, image: Tensor, parameters: RandomParameters) -> Tensor:
        """Return images [n,c,h,w] with changed intensities, each by its own parameters."""
        if self.window_jitter:
            lower = parameters.symmetric("window_lower", of="window_jitter") * self.window_jitter
            upper = 1 + parameters.symmetric("window_upper", of="window_jitter") * self.window_jitter
            image = ((image - lower) / (upper - lower)).clamp(0.0, 1.0)
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        image = (image - mean).mul_(1 + parameters.symmetric("contrast") * self.contrast).add_(mean)
        image.add_(parameters.symmetric("brightness") * self.brightness).clamp_(0.0, 1.0)
        if self.gamma:
            image.pow_(torch.exp(parameters.symmetric("gamma") * self.gamma))
        if self.bias:
            h, w = image.shape[-2:]
            image.mul_(parameters.smooth_field("bias", BIAS_KNOTS, (h, w)).mul_(self.bias).exp_())
        if self.blur:
            sigma = parameters.uniform("blur_sigma") * self.blur_sigma
            image = torch.where(parameters.uniform("blur") < self.blur, blurred(image, sigma), image)
        if self.coarse:
            factors = 1 + parameters.uniform("coarse_factor") * (self.coarse_factor - 1)
            factors = torch.where(parameters.uniform("coarse") < self.coarse, factors, 1.0)
            image = coarsened(image, factors.flatten().tolist())
        return image

    def _noisy(self, image: Tensor, keys: tuple[SampleKey, ...], parameters: RandomParameters) -> Tensor:
        """Return images [b,c,d,h,w] with noise of a strength of their own, or of each channel."""
        if self.noise:
            strength = parameters.strength("noise").reshape(len(image), -1, 1, 1, 1)
            image.add_(normals(keys, image).mul_(strength * self.noise))
        return image


def _half(full: int, size: int) -> float:
    """Return the half pixel by which a window's pixels lie off those of an image larger by an odd number, else 0."""
    return (full - size) % 2 / 2


def _as_volumes(batch: Batch) -> Batch:
    """Return a batch of slices as one of volumes one slice deep."""
    return batch.with_each(lambda tensor: tensor.unsqueeze(2))


def _as_slices(batch: Batch) -> Batch:
    """Return a batch of volumes one slice deep as one of slices."""
    return batch.with_each(lambda tensor: tensor.squeeze(2))
