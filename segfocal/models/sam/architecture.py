"""SAM's sizes, and a model of any size put together from SAM's parts; parameters have the names they have there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam.adapters import add_adapters
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder
from segfocal.models.sam.families import Family
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.promptable_model import PromptableModel
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer

PATCH = 16  # pixels a token


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of an image encoder and, the same for all of SAM's, of the decoder."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]  # the others attend within windows
    window: int = 14
    decoder_width: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    mask_channels: int = 16
    iou_width: int = 256


VIT_B = Architecture(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
VIT_L = Architecture(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = Architecture(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))


def build_sam(
    architecture: Architecture,
    family: Family,
    *,
    image_size: int,
    adapter: str = "none",
    rank: int = 8,
    alpha: float = 8.0,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    checkpointing: bool = False,
) -> PromptableModel:
    """Return a SAM for square images of `image_size`, a multiple of 16, that takes images and prompts as a family does.

    adapter, rank, alpha: see add_adapters. freeze, train: see freeze_parameters. checkpointing: of encoder and decoder.

    Raises:
        ValueError: another image_size, an adapter that is none, rank < 1, a pattern that matches no parameter.
    """
    if image_size % PATCH or image_size < PATCH:
        raise ValueError(f"expected model.image_size to be a multiple of {PATCH}; got {image_size}")
    sizes, tokens = architecture, image_size // PATCH
    encoder = SamEncoder(
        EncoderSizes(
            image_size=image_size,
            patch=PATCH,
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            out=sizes.decoder_width,
            window=sizes.window,
            global_blocks=sizes.global_blocks,
        ),
        checkpointing=checkpointing,
    )
    add_adapters(encoder, adapter, rank=rank, alpha=alpha)
    model = PromptableModel(
        image_encoder=encoder,
        prompt_encoder=BatchPromptEncoder(
            embed_dim=sizes.decoder_width,
            image_embedding_size=(tokens, tokens),
            input_image_size=(image_size, image_size),
            mask_in_chans=sizes.mask_channels,
            hides_absent=True,
            mask_probabilities=family.mask_probabilities,
        ),
        mask_decoder=BatchMaskDecoder(
            transformer_dim=sizes.decoder_width,
            transformer=SharedTwoWayTransformer(
                depth=2,
                width=sizes.decoder_width,
                heads=sizes.decoder_heads,
                mlp_width=sizes.decoder_mlp,
            ),
            iou_head_hidden_dim=sizes.iou_width,
        ),
        image_size=image_size,
        pixel_mean=family.pixel_mean,
        pixel_std=family.pixel_std,
        channel_order=family.channel_order,
        multimask=family.multimask,
        checkpointing=checkpointing,
    )
    freeze_parameters(model, freeze, train)
    return model
