"""SAM's sizes, and a model of any size put together from SAM's parts; parameters have the names they have there."""

from __future__ import annotations

from dataclasses import dataclass

from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam.adapters import add_adapters
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.sam_model import SamModel
from segfocal.models.sam.sam_options import SamOptions
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer

PATCH = 16  # pixels a token


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of an image encoder and, the same for all of SAM's, of the decoder.

    Args:
        width: channels of the encoder's tokens.
        depth: its blocks.
        heads: of its attention layers.
        global_blocks: blocks that attend over the whole image; the others attend within windows.
        window: side of those windows in tokens.
        decoder_width: channels of the embedding and of the decoder's tokens.
        decoder_heads: of the decoder's attention layers.
        decoder_mlp: hidden channels of the decoder's perceptrons.
        mask_channels: hidden channels of the layers that embed a mask prompt.
        iou_width: hidden channels of the head that predicts IoU.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    decoder_width: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    mask_channels: int = 16
    iou_width: int = 256


VIT_B = Architecture(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
VIT_L = Architecture(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = Architecture(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))


def build_sam(architecture: Architecture, options: SamOptions) -> SamModel:
    """Return a SAM for square images of `options.image_size`, a multiple of 16.

    Raises:
        ValueError: another image_size, an unknown adapter, rank < 1, a pattern that matches no parameter.
    """
    size = options.image_size
    if size % PATCH or size < PATCH:
        raise ValueError(f"expected model.image_size to be a multiple of {PATCH}; got {size}")
    encoder = SamEncoder(
        EncoderSizes(
            image_size=size,
            patch=PATCH,
            width=architecture.width,
            depth=architecture.depth,
            heads=architecture.heads,
            out=architecture.decoder_width,
            window=architecture.window,
            global_blocks=architecture.global_blocks,
        ),
        checkpointing=options.checkpointing,
    )
    add_adapters(encoder, options.adapter, rank=options.rank, alpha=options.alpha)
    model = SamModel(
        image_encoder=encoder,
        prompt_encoder=prompt_encoder_of(architecture, options, tokens=size // PATCH),
        mask_decoder=mask_decoder_of(architecture),
        correction_decoder=mask_decoder_of(architecture) if options.correction_decoder else None,
        options=options.promptable(),
    )
    freeze_parameters(model, options.freeze, options.train)
    return model


def prompt_encoder_of(architecture: Architecture, options: SamOptions, *, tokens: int) -> BatchPromptEncoder:
    """Return SAM's prompt encoder for image embeddings of `tokens` a side."""
    return BatchPromptEncoder(
        embed_dim=architecture.decoder_width,
        image_embedding_size=(tokens, tokens),
        input_image_size=(options.image_size, options.image_size),
        mask_in_chans=architecture.mask_channels,
        hides_absent=True,
        mask_probabilities=options.mask_probabilities,
    )


def mask_decoder_of(architecture: Architecture) -> BatchMaskDecoder:
    """Return SAM's mask decoder."""
    return BatchMaskDecoder(
        transformer_dim=architecture.decoder_width,
        transformer=SharedTwoWayTransformer(
            depth=2,
            width=architecture.decoder_width,
            heads=architecture.decoder_heads,
            mlp_width=architecture.decoder_mlp,
        ),
        iou_head_hidden_dim=architecture.iou_width,
    )
