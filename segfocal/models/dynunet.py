"""MONAI's DynUNet, of plain blocks and instance norm, without MONAI, which takes seconds to import.

Layers, their names and the order in which they draw their first weights are MONAI's: weights of either fit the other,
and a seed gives the same ones.

Source: monai.networks.nets.dynunet of MONAI 1.6 (Apache-2.0). Left out: residual blocks, deep supervision, dropout.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

_SLOPE = 0.01  # of the leaky ReLU
_CONVS: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORMS: dict[int, Callable[..., nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class DynUNet(nn.Module):
    """A U-Net of images [b,c,*space] to logits [b,k,*space]; each level halves the sides.

    Args:
        dims: axes of space, 2 or 3.
        channels: c of the images.
        classes: k.
        widths: channels of each level, finest first; at least three.
    """

    def __init__(self, *, dims: int, channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.input_block = _Block(dims, channels, widths[0])
        self.downsamples = nn.ModuleList(_Block(dims, fine, coarse, stride=2) for fine, coarse in steps[:-1])
        self.bottleneck = _Block(dims, *steps[-1], stride=2)
        self.upsamples = nn.ModuleList(_UpBlock(dims, coarse, fine) for fine, coarse in reversed(steps))
        self.output_block = _OutBlock(dims, widths[0], classes)
        torch.rand(1)  # MONAI draws one here
        self.apply(_draw_weights)
        below: nn.Module = self.bottleneck
        for down, up in zip(reversed([self.input_block, *self.downsamples]), self.upsamples, strict=True):
            below = _SkipLayer(down, below, up)
        self.skip_layers = below  # the same blocks, as they are walked: each has two names

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits; sides are multiples of 2^(levels − 1)."""
        return self.output_block(self.skip_layers(image))


class _SkipLayer(nn.Module):
    """One level: down, all levels below, and up again beside what went down."""

    def __init__(self, downsample: nn.Module, next_layer: nn.Module, upsample: nn.Module) -> None:
        super().__init__()
        self.downsample, self.next_layer, self.upsample = downsample, next_layer, upsample

    def forward(self, x: Tensor) -> Tensor:
        down = self.downsample(x)
        return self.upsample(self.next_layer(down), down)


class _Block(nn.Module):
    """Two convolutions of 3 pixels a side, each normalised and rectified; the first one may halve the sides."""

    def __init__(self, dims: int, inside: int, outside: int, *, stride: int = 1) -> None:
        super().__init__()
        conv, norm = _CONVS[dims], _NORMS[dims]
        self.conv1 = _named(conv(inside, outside, kernel_size=3, stride=stride, padding=1, bias=False))
        self.conv2 = _named(conv(outside, outside, kernel_size=3, padding=1, bias=False))
        self.lrelu = nn.LeakyReLU(_SLOPE, inplace=True)
        self.norm1, self.norm2 = norm(outside, affine=True), norm(outside, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrelu(self.norm1(self.conv1(x)))
        return self.lrelu(self.norm2(self.conv2(x)))


class _UpBlock(nn.Module):
    """A transposed convolution that doubles the sides, and a block of it and of what is skipped to it."""

    def __init__(self, dims: int, inside: int, outside: int) -> None:
        super().__init__()
        self.transp_conv = _named(_TRANSPOSED[dims](inside, outside, kernel_size=2, stride=2, bias=False))
        self.conv_block = _Block(dims, 2 * outside, outside)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        return self.conv_block(torch.cat((self.transp_conv(x), skipped), dim=1))


class _OutBlock(nn.Module):
    """The logits of each pixel by itself."""

    def __init__(self, dims: int, inside: int, classes: int) -> None:
        super().__init__()
        self.conv = _named(_CONVS[dims](inside, classes, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def _named(layer: nn.Module) -> Any:
    """Return a layer under the name that its parameters have in MONAI."""
    return nn.Sequential(OrderedDict(conv=layer))


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
