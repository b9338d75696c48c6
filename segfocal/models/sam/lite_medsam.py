"""`lite_medsam`: MedSAM's small sibling, a TinyViT encoder with SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from collections.abc import Sequence

from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam.families import LITE_MEDSAM
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.promptable_model import PromptableModel
from segfocal.models.sam.tiny_vit import STRIDE, TinyViT
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer

_WIDTH = 256  # of the embedding and the decoder


def lite_medsam(
    *,
    image_size: int = 256,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    frozen_statistics: bool = True,
    checkpointing: bool = False,
    multimask: bool = LITE_MEDSAM.multimask,
    channel_order: str = LITE_MEDSAM.channel_order,
    pixel_mean: float | Sequence[float] = LITE_MEDSAM.pixel_mean,
    pixel_std: float | Sequence[float] = LITE_MEDSAM.pixel_std,
) -> PromptableModel:
    """Return LiteMedSAM, 9.8 million parameters, for square images of `image_size` (in fours; trained at 256).

    Grey images in [0,1] are repeated to three channels, RGB ones are taken too.

    Args:
        image_size: pixels of a side; an embedding has a quarter as many tokens a side.
        freeze: name patterns of parameters that are not trained, as "image_encoder.*".
        train: name patterns of exceptions.
        frozen_statistics: batch norm keeps the means and variances it has, also in training. Those of a few slices of
            one scan are poor estimates, and evaluation would use averages of them; False is for training from nothing.
        checkpointing: encoder blocks and decoding are done again in the backward pass, for memory.
        multimask, channel_order, pixel_mean, pixel_std: see sam_vit_b.

    Raises:
        ValueError: image_size not a multiple of 4, a channel order that is none, a pattern that matches no parameter.
    Source: Ma et al., "Segment anything in medical images", Nature Communications 2024; bowang-lab/MedSAM, LiteMedSAM.
    """
    if image_size % STRIDE or image_size < STRIDE:
        raise ValueError(f"expected model.image_size to be a multiple of {STRIDE}; got {image_size}")
    tokens = image_size // STRIDE
    model = PromptableModel(
        image_encoder=TinyViT(out=_WIDTH, frozen_statistics=frozen_statistics, checkpointing=checkpointing),
        prompt_encoder=BatchPromptEncoder(
            embed_dim=_WIDTH,
            image_embedding_size=(tokens, tokens),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
            hides_absent=True,
        ),
        mask_decoder=BatchMaskDecoder(
            transformer_dim=_WIDTH,
            transformer=SharedTwoWayTransformer(depth=2, width=_WIDTH, heads=8, mlp_width=2048),
        ),
        image_size=image_size,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        channel_order=channel_order,
        multimask=multimask,
        checkpointing=checkpointing,
    )
    freeze_parameters(model, freeze, train)
    return model
