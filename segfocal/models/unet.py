"""`unet`: MONAI's residual U-Net for images in [0,1]."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class UNet(nn.Module):
    """A residual U-Net, `model(image[b,c,h,w]) -> logits[b,k,h,w]`; sides must be multiples of 2^(levels − 1).

    Source: Kerfoot et al., "Left-Ventricle Quantification Using Residual U-Net", STACOM 2018, as in MONAI.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        classes: int = 1,
        widths: Sequence[int] = (24, 48, 96, 192, 256),
        units: int = 2,
        pixel_mean: float = 0.35,
        pixel_std: float = 0.3,
    ) -> None:
        super().__init__()
        from monai.networks.nets.unet import UNet as MonaiUNet  # takes seconds to import

        self.classes, self.pixel_mean, self.pixel_std = classes, pixel_mean, pixel_std
        self.network = MonaiUNet(
            spatial_dims=2,
            in_channels=channels,
            out_channels=classes,
            channels=list(widths),
            strides=[2] * (len(widths) - 1),
            num_res_units=units,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of every class."""
        return self.network((image - self.pixel_mean) / self.pixel_std)
