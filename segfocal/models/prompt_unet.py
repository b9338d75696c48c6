"""`prompt_unet`: a residual U-Net that takes prompts as channels of its input, the promptable model a CPU can afford.

The first layer is linear, so it is the sum of the image's share, computed once when an image is encoded, and the
prompt's. No prompt adds exactly nothing. All else, which is nearly all of the work, runs for every prompt.

An instance norm takes away a level that is the same everywhere, as that of a box as large as the window. Here norms are
of groups of channels (two or more, with the default widths), among which a level shows. And they stand in branches: the
first layer's sum also reaches the last one past all of them, so a lone click is as strong there as it was drawn.

Source: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", ICIP 2022: the
sum of two first layers ("Conv1S"), and the channels (`prompt_channels.py`). Differences: a small U-Net in place of a
pretrained HRNet, boxes, scribbles, lassos, and no prompt at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.prior import Prior
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.promptable_model import Answer, PromptableModel, PromptableOptions
from segfocal.models.sam.tiny import CONVOLUTIONS, GROUPS, Residual, halve
from segfocal.models.sam.two_way_transformer import add_shared
from segfocal.prompts import Prompt
from segfocal.prompts.prompt import STROKES
from segfocal.prompts.prompt_channels import KINDS, LARGEST_RADIUS, channels_of, draw_prompts


class PromptUNet(PromptableModel):
    """A promptable U-Net, by default of 1.9 million parameters (5.5 in 3-D), with one mask a prompt.

    Args:
        channels: c of the images.
        image_size: pixels of a side of images, or three sides (d, h, w) for a model of volumes [b,c,d,h,w], whose
            prompts and masks are of volumes too; multiples of 2^(levels − 1). The weights fit any.
        widths: channels of each level, finest first, in eights; at least two levels.
        click_radius: pixels from a click's pixel to the edge of the disc it is drawn as, from 0 to 32. 3, a disc of 29
            pixels, is wide enough to be seen past the finest level, and small beside most targets.
        prompts: kinds of prompts that have channels, in their order: clicks, box and mask, and any of scribbles and
            lassos, which otherwise become clicks and boxes.
        prior: what `start_from` is asked for when training begins; see PromptableOptions.
        pixel_mean: standardises images in [0,1].
        pixel_std: likewise, > 0.

    Raises:
        ValueError: an impossible image_size, widths, click_radius, prompts or prior.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        image_size: int | Sequence[int] = 128,
        widths: Sequence[int] = (16, 32, 64, 128, 192),
        click_radius: float = 3.0,
        prompts: Sequence[str] = KINDS,
        prior: Prior = None,
        pixel_mean: float = 0.35,
        pixel_std: float = 0.3,
    ) -> None:
        if len(widths) < 2 or any(width < GROUPS or width % GROUPS for width in widths):
            raise ValueError(f"expected at least two model.widths, in multiples of {GROUPS}; got {list(widths)}")
        multiple = 2 ** (len(widths) - 1)
        sides = _sides(image_size, multiple)
        if not 0 <= click_radius <= LARGEST_RADIUS:
            raise ValueError(f"expected model.click_radius from 0 to {LARGEST_RADIUS:g} pixels; got {click_radius}")
        kinds = tuple(prompts)
        if len(set(kinds)) < len(kinds) or not set(KINDS) - set(STROKES) <= set(kinds) <= set(KINDS):
            raise ValueError(
                f"expected model.prompts of {', '.join(KINDS)}, the first three at least; got {list(kinds)}"
            )
        super().__init__(
            image_encoder=ImageShare(channels, widths[0], len(sides)),
            mask_size=sides,
            options=PromptableOptions(image_size=sides[-1], pixel_mean=pixel_mean, pixel_std=pixel_std, prior=prior),
        )
        self.size_multiple = multiple
        self.prompt_encoder = PromptShare(widths[0], self.mask_size, click_radius, kinds)
        self.unet = ResidualUNet(widths, len(sides))

    @property
    def prompt_options(self) -> tuple[object, ...]:
        """The radius of clicks, and the kinds that have channels; of volumes their size too."""
        options = (self.prompt_encoder.click_radius, self.prompt_encoder.kinds)
        return (*options, self.image_shape) if self.of_volumes else options

    @property
    def strokes(self) -> tuple[str, ...]:
        """Kinds of drawn prompts that have channels of their own."""
        return tuple(kind for kind in STROKES if kind in self.prompt_encoder.kinds)

    def _enlarged(self, low_res: Tensor, predicted_iou: Tensor) -> Answer:
        return Answer(logits=low_res.float(), low_res_logits=low_res, predicted_iou=predicted_iou)

    @property
    def main_part(self) -> nn.Module:
        """The U-Net, all but the first layer."""
        return self.unet

    def low_res(self, embedding: Embedding, prompt: Prompt, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,1,*space], of the image's own pixels, and predicted IoU [n,1]."""
        return self.unet(add_shared(embedding.tokens, self.prompt_encoder(prompt)))


def _sides(image_size: int | Sequence[int], multiple: int) -> tuple[int, ...]:
    """Return the sides (h, w) of images or (d, h, w) of volumes; ValueError unless they are such multiples."""
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    square = len(sides) == 3 or (len(sides) == 2 and sides[0] == sides[1])
    if not square or any(side < multiple or side % multiple for side in sides):
        shown = image_size if isinstance(image_size, int) else list(image_size)
        raise ValueError(
            f"expected model.image_size to be a multiple of {multiple}; got {shown}: one of images, three of volumes"
        )
    return sides


class ImageShare(nn.Module):
    """The image's share of the first layer."""

    def __init__(self, channels: int, width: int, dims: int) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[dims](channels, width, 3, padding=1)

    def forward(self, image: Tensor) -> Embedding:
        """Return features [b,width,*space] of standardised images."""
        return Embedding(tokens=self.conv(image))


class PromptShare(nn.Module):
    """The prompt's share of the first layer, without a bias: of no prompt it is zero.

    Args:
        width: of the finest level.
        size: pixels (h, w) of the image, or (d, h, w) of the volume.
        click_radius: as of PromptUNet.
        kinds: of prompts that have channels, in their order.
    """

    def __init__(self, width: int, size: tuple[int, ...], click_radius: float, kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.size, self.click_radius, self.kinds = size, click_radius, kinds
        self.conv = CONVOLUTIONS[len(size)](len(channels_of(kinds)), width, 3, padding=1, bias=False)

    def forward(self, prompt: Prompt) -> Tensor:
        """Return features [n,width,*space] of prompts."""
        return self.conv(draw_prompts(prompt, self.size, click_radius=self.click_radius, kinds=self.kinds))


class ResidualUNet(nn.Module):
    """A U-Net of residual blocks, from the first layer's features to masks; skip connections are added.

    predicted_iou is a linear layer of the coarsest features' mean. As in every promptable model here it learns from an
    IoU-head term of the loss, and says nothing without one.

    widths: channels of each level, finest first. dims: 2 or 3.
    """

    def __init__(self, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.down = nn.ModuleList(halve(fine, coarse, blocks=1, dims=dims) for fine, coarse in levels)
        self.up = nn.ModuleList(_Doubled(coarse, fine, dims) for fine, coarse in reversed(levels))
        # without a bias: a level of all logits is the prior's, or the norms'
        self.logits = CONVOLUTIONS[dims](widths[0], 1, 1, bias=False)
        self.predicted_iou = nn.Linear(widths[-1], 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,1,*space] and predicted IoU [n,1] of features [n,widths[0],*space]."""
        levels = [features]
        for halved in self.down:
            levels.append(halved(levels[-1]))
        x = levels.pop()
        predicted_iou = self.predicted_iou(x.mean(tuple(range(2, x.ndim))))
        for doubled in self.up:
            x = doubled(x, levels.pop())
        return self.logits(x), predicted_iou


class _Doubled(nn.Module):
    """Doubles the resolution, adds the encoder's features of that level, and refines the sum."""

    def __init__(self, coarse: int, fine: int, dims: int) -> None:
        super().__init__()
        enlarged = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        self.enlarge = enlarged(coarse, fine, 2, stride=2)
        self.norm = nn.GroupNorm(GROUPS, fine)
        self.refine = Residual(fine, dims=dims)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Return features of the shape of `skipped`."""
        return self.refine(skipped + F.gelu(self.norm(self.enlarge(x))))
