"""LiteMedSAM and MobileSAM: a TinyViT encoder with SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam.architecture import VIT_B, mask_decoder_of, prompt_encoder_of
from segfocal.models.sam.sam_model import SamModel
from segfocal.models.sam.sam_options import SamOptions
from segfocal.models.sam.tiny_vit import Patches, TinyViT


def build_tiny_vit_sam(patches: Patches, options: SamOptions) -> SamModel:
    """Return a TinyViT SAM for square images of `options.image_size`, a multiple of its token's side in pixels.

    Its decoder has SAM's sizes.

    Raises:
        ValueError: another image_size, a pattern that matches no parameter.
    """
    size, stride = options.image_size, patches.token
    if size % stride or size < stride:
        raise ValueError(f"expected model.image_size to be a multiple of {stride}; got {size}")
    model = SamModel(
        image_encoder=TinyViT(
            patches,
            out=VIT_B.decoder_width,
            frozen_statistics=options.frozen_statistics,
            checkpointing=options.checkpointing,
        ),
        prompt_encoder=prompt_encoder_of(VIT_B, options, tokens=size // stride),
        mask_decoder=mask_decoder_of(VIT_B),
        correction_decoder=mask_decoder_of(VIT_B) if options.correction_decoder else None,
        options=options.promptable(),
    )
    freeze_parameters(model, options.freeze, options.train)
    return model
