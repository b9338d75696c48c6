"""The upsampling of a U-Net with fewer multiplications, the same in real numbers: what a converter is given.

MONAI's DynUNet enlarges features by a transposed convolution, puts the skipped ones beside them, and a convolution
follows. Nothing lies between the two, so they are one transposed convolution of a larger kernel, to which the skipped
features' share is added. That is a tenth less of a U-Net's work in 3-D, and neither the enlarged features nor both
beside each other are ever held.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCKS = "monai.networks.blocks.dynunet_block"  # takes seconds to import; who built such a network has imported it
_TRANSPOSED: dict[int, Any] = {4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}  # by the axes of a kernel
_PLAIN: dict[int, Any] = {4: nn.Conv2d, 5: nn.Conv3d}
_CORRELATED = {4: F.conv2d, 5: F.conv3d}


def merged(network: nn.Module) -> nn.Module:
    """Return a network whose upsampling is merged where that is possible and less work; a copy, or the network itself.

    Args:
        network: in evaluation mode; of no DynUNet it is returned as it is.
    """
    blocks = sys.modules.get(_BLOCKS)
    ups = [] if blocks is None else [m for m in network.modules() if isinstance(m, blocks.UnetUpBlock) and _gains(m)]
    return deepcopy(network, {id(up): MergedUp(up) for up in ups}) if ups else network


class MergedUp(nn.Module):
    """MONAI's UnetUpBlock, of coarse features and skipped ones, with the two convolutions in one.

    up: a block for which `merged` finds this to be the same.
    """

    def __init__(self, up: Any) -> None:
        super().__init__()
        enlarge, convolve = up.transp_conv.conv, up.conv_block.conv1.conv
        own, kernel, step = enlarge.out_channels, convolve.weight.detach(), enlarge.stride
        grown = [(side - 1, side - 1) for side in reversed(kernel.shape[2:])]  # F.pad's order: the last axis first
        spread = F.pad(enlarge.weight.detach(), [by for both in grown for by in both])
        both = _CORRELATED[kernel.ndim](spread, kernel[:, :own])  # what becomes of one coarse pixel
        self.enlarged = _TRANSPOSED[kernel.ndim](
            *both.shape[:2], tuple(both.shape[2:]), stride=step, padding=convolve.padding, bias=False
        )
        self.skipped = _PLAIN[kernel.ndim](
            kernel.shape[1] - own,
            convolve.out_channels,
            convolve.kernel_size,
            padding=convolve.padding,
            bias=convolve.bias is not None,
        )
        with torch.no_grad():
            self.enlarged.weight = nn.Parameter(both)
            self.skipped.weight = nn.Parameter(kernel[:, own:].clone())
            if convolve.bias is not None:
                self.skipped.bias = nn.Parameter(convolve.bias.detach().clone())
        self.rest = deepcopy(up.conv_block, {id(up.conv_block.conv1): nn.Identity()})

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Return the refined features of coarse ones [b,c,*space] and the skipped ones of their finer level."""
        return self.rest(self.enlarged(coarse) + self.skipped(skip))


def _gains(up: Any) -> bool:
    """Return whether a block's two convolutions can be merged, and are less work so."""
    alone = [list(layer.children()) == [layer.conv] for layer in (up.transp_conv, up.conv_block.conv1)]
    enlarge, convolve = up.transp_conv.conv, up.conv_block.conv1.conv
    sides, step = convolve.kernel_size, enlarge.stride
    mergeable = (
        all(alone)
        and enlarge.kernel_size == step
        and enlarge.bias is None
        and not any(enlarge.padding)
        and not any(enlarge.output_padding)
        and set(convolve.stride) == {1}
        and set(convolve.dilation) == set(enlarge.dilation) == {1}
        and convolve.groups == enlarge.groups == 1
        and convolve.padding == tuple(side // 2 for side in sides)
        and all(side % 2 for side in sides)
        and convolve.padding_mode == "zeros"
    )
    coarse, own, out = enlarge.in_channels, enlarge.out_channels, convolve.out_channels
    apart = prod(sides) * own * out + coarse * own  # multiplications a fine pixel
    return (
        mergeable
        and prod(by + side - 1 for by, side in zip(step, sides, strict=True)) / prod(step) * coarse * out < apart
    )
