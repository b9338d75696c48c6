"""`sam_tiny`: a promptable model small enough to train on a laptop in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.prior import Prior
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.promptable_model import PromptableOptions
from segfocal.models.sam.sam_model import SamModel
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer

_PATCH = 8  # pixels a token: the stem halves the image three times
_STEM = (32, 64)  # channels at half and quarter resolution
GROUPS = 8  # of the group norms
CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}  # by axes


class _GroupNorm(nn.GroupNorm):
    """A group norm that a CPU trains in float32: torch 2.13 goes back four to seven times as slowly in bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised channels."""
        if input.requires_grad and input.device.type == "cpu" and input.dtype == torch.bfloat16:
            return super().forward(input.float()).to(input.dtype)
        return super().forward(input)


class Residual(nn.Module):
    """Two convolutions of 3 pixels a side with group norm around a skip connection; dims=3 is of volumes."""

    def __init__(self, width: int, *, dims: int = 2) -> None:
        super().__init__()
        self.first = CONVOLUTIONS[dims](width, width, 3, padding=1)
        self.first_norm = _GroupNorm(GROUPS, width)
        self.second = CONVOLUTIONS[dims](width, width, 3, padding=1)
        self.second_norm = _GroupNorm(GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the input's shape."""
        return x + self.second_norm(self.second(F.gelu(self.first_norm(self.first(x)))))


def halve(channels: int, width: int, *, blocks: int, dims: int = 2) -> nn.Sequential:
    """Return a stage that halves the resolution and then refines.

    Args:
        channels: of the input.
        width: channels of the output.
        blocks: residual blocks.
        dims: 2, or 3 for volumes.
    """
    down = CONVOLUTIONS[dims](channels, width, 3, stride=2, padding=1)
    refined = [Residual(width, dims=dims) for _ in range(blocks)]
    return nn.Sequential(down, _GroupNorm(GROUPS, width), nn.GELU(), *refined)


@dataclass(frozen=True, kw_only=True)
class SamTinyOptions:
    """Options of sam_tiny.

    Args:
        channels: of the image.
        image_size: pixels of a side, ≥ 8 and in eights.
        width: channels of the encoder's tokens, a multiple of `heads` and of 8.
        depth: transformer blocks.
        heads: of the encoder's attention layers.
        decoder_width: channels of the embedding and of the decoder.
        prior: what `start_from` is asked for when training begins; see PromptableOptions.
        pixel_mean: standardises images in [0,1].
        pixel_std: likewise, > 0.

    Raises:
        ValueError: an impossible image_size or width.
    """

    channels: int = 1
    image_size: int = 128
    width: int = 192
    depth: int = 2
    heads: int = 6
    decoder_width: int = 128
    prior: Prior = None
    pixel_mean: float = 0.35
    pixel_std: float = 0.3

    def __post_init__(self) -> None:
        if self.image_size % _PATCH or self.image_size < _PATCH:
            raise ValueError(f"expected model.image_size to be a multiple of {_PATCH}; got {self.image_size}")
        if self.width % self.heads or self.width % GROUPS:
            raise ValueError(
                f"expected model.width to be a multiple of {self.heads} heads and of {GROUPS}; got {self.width}"
            )


class TinyEncoder(nn.Module):
    """A convolutional stem, then transformer blocks with global attention over its 8×8-pixel tokens.

    The stem stands where SAM has one linear 16×16 patch embedding. Convolutions know edges from the first step on,
    which is what lets a transformer learn from a single scan (Xiao et al., "Early Convolutions Help Transformers See
    Better", NeurIPS 2021); its half and quarter resolution features go to the mask decoder for sharp borders.
    """

    def __init__(self, options: SamTinyOptions) -> None:
        super().__init__()
        self.to_half = halve(options.channels, _STEM[0], blocks=1)
        self.to_quarter = halve(_STEM[0], _STEM[1], blocks=2)
        self.vit = SamEncoder(
            EncoderSizes(
                image_size=options.image_size,
                patch=_PATCH,
                channels=options.channels,
                width=options.width,
                depth=options.depth,
                heads=options.heads,
                out=options.decoder_width,
                window=0,
                relative_positions=False,
                norm_eps=1e-5,
            )
        )
        self.vit.patch_embed = nn.Sequential(halve(_STEM[1], options.width, blocks=1), _ChannelsLast())
        nn.init.trunc_normal_(self.vit.pos_embed, std=0.02)

    def forward(self, image: Tensor) -> Embedding:
        """Return tokens [b,out,h/8,w/8] with details [b,64,h/4,w/4] and [b,32,h/2,w/2]."""
        half = self.to_half(image)
        quarter = self.to_quarter(half)
        return Embedding(tokens=self.vit(quarter).tokens, details=(quarter, half))


class _ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).contiguous()  # else every sum of the blocks goes across the memory's order


def sam_tiny(**options: Any) -> SamModel:
    """Return a promptable model of about 2.7 million parameters with one mask a prompt; options: SamTinyOptions.

    Raises:
        ValueError: an impossible image_size, width or prior.
    """
    return build_sam_tiny(SamTinyOptions(**options))


def build_sam_tiny(options: SamTinyOptions) -> SamModel:
    """Return the promptable model of these options."""
    tokens, width = options.image_size // _PATCH, options.decoder_width
    model = SamModel(
        image_encoder=TinyEncoder(options),
        prompt_encoder=BatchPromptEncoder(
            embed_dim=width,
            image_embedding_size=(tokens, tokens),
            input_image_size=(options.image_size, options.image_size),
            mask_in_chans=16,
        ),
        mask_decoder=BatchMaskDecoder(
            detail_channels=(_STEM[1], _STEM[0]),
            transformer_dim=width,
            transformer=SharedTwoWayTransformer(depth=2, width=width, heads=8, mlp_width=512),
            num_multimask_outputs=0,
            iou_head_hidden_dim=width,
        ),
        options=PromptableOptions(
            image_size=options.image_size,
            pixel_mean=options.pixel_mean,
            pixel_std=options.pixel_std,
            prior=options.prior,
        ),
    )
    model.quicker_channels_last = True
    model.learning_rate = 4e-3
    return model
