"""`unet`: MONAI's dynamic U-Net (the plain convolutional U-Net of nnU-Net), 2-D or 3-D, for images in [0,1].

Not MONAI's `UNet`: its last layer normalises the one channel of logits, which leaves it no way to say "nothing here".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.prior import Prior, check_prior
from segfocal.models.segmentation_model import SegmentationModel


class UNet(SegmentationModel):
    """A plain U-Net, `model(image[b,c,h,w]) -> logits[b,k,h,w]`; sides must be multiples of 2^(levels − 1).

    Args:
        dims: 2, or 3 for volumes [b,c,d,h,w].
        channels: c of the images.
        classes: k, one channel of logits for each.
        widths: channels of each level, finest first; at least three levels.
        prior: the share of foreground that `start_from` sets when training begins; None for random first predictions.
        pixel_mean: standardises images in [0,1].
        pixel_std: likewise, > 0.

    Source: Isensee et al., "nnU-Net", Nature Methods 2021, as in MONAI's DynUNet.

    Raises:
        ValueError: fewer than three levels, other dims, an impossible prior.
    """

    learning_rate = 3e-3

    def __init__(
        self,
        *,
        dims: int = 2,
        channels: int = 1,
        classes: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 192),
        prior: Prior = None,
        pixel_mean: float = 0.35,
        pixel_std: float = 0.3,
    ) -> None:
        super().__init__()
        if len(widths) < 3:
            raise ValueError(f"expected at least three levels in model.widths; got {list(widths)}")
        if dims not in (2, 3):
            raise ValueError(f"expected model.dims 2 or 3; got {dims}")
        check_prior(prior)
        from monai.networks.nets.dynunet import DynUNet  # takes seconds to import

        self.prior = prior
        self.classes, self.pixel_mean, self.pixel_std = classes, pixel_mean, pixel_std
        levels = len(widths)
        self.size_multiple = 2 ** (levels - 1)
        self.network = DynUNet(
            spatial_dims=dims,
            in_channels=channels,
            out_channels=classes,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(widths),
        )
        _train_by_group_norms(self.network)

    def start_from(self, logits: Tensor) -> None:
        """Make the first predictions lie around the logits [k] of a prior."""
        with torch.no_grad():
            self.network.output_block.conv.conv.bias.copy_(logits)

    def move_logits(self, by: Tensor) -> bool:
        """Add a number [k] to the logits of each class; return True."""
        with torch.no_grad():
            self.network.output_block.conv.conv.bias.add_(by)
        return True

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of every class; ValueError unless the sides are multiples of `size_multiple`."""
        if any(side % self.size_multiple for side in image.shape[2:]):
            raise ValueError(
                f"expected image sides that are multiples of {self.size_multiple}; got {tuple(image.shape[2:])}: "
                "set data.window to such sizes"
            )
        return self.network((image - self.pixel_mean) / self.pixel_std)


class _InstanceNorm2d(nn.InstanceNorm2d):
    """An instance norm that a CPU trains as the group norm of one channel a group, which it equals.

    torch's instance norm adds up one number after the other there, which took a seventh of a U-Net's step. Otherwise
    this is torch's, which sums in double precision: what a trained network answers does not change.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised channels."""
        return _as_group_norm(self, input) if _trains_on_cpu(self, input) else super().forward(input)


class _InstanceNorm3d(nn.InstanceNorm3d):
    """The same of volumes."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised channels."""
        return _as_group_norm(self, input) if _trains_on_cpu(self, input) else super().forward(input)


def _trains_on_cpu(norm: nn.Module, maps: Tensor) -> bool:
    return norm.training and maps.device.type == "cpu" and maps.shape[2:].numel() > 1  # of one pixel torch's refuses


def _as_group_norm(norm: _InstanceNorm2d | _InstanceNorm3d, maps: Tensor) -> Tensor:
    # contiguous: torch 2.13 goes back over channels-last maps nine times as slowly, and over volumes to wrong gradients
    return F.group_norm(maps.contiguous(), norm.num_features, norm.weight, norm.bias, norm.eps)


def _train_by_group_norms(network: nn.Module) -> None:
    """Put our instance norms in the places of torch's; they have their parameters' names and first values."""
    for block in network.modules():
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.InstanceNorm2d | nn.InstanceNorm3d):
                kind = _InstanceNorm2d if isinstance(layer, nn.InstanceNorm2d) else _InstanceNorm3d
                setattr(block, name, kind(layer.num_features, eps=layer.eps, affine=layer.affine))
