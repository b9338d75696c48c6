"""`lite_medsam`: MedSAM's small sibling, a TinyViT encoder with SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from segfocal.models.prior import Prior
from segfocal.models.sam.attention import fuse_attention
from segfocal.models.sam.parts import BatchMaskDecoder, BatchPromptEncoder
from segfocal.models.sam.promptable import PromptableModel
from segfocal.models.sam.tiny_vit import STRIDE, TinyViT
from segfocal.models.sam.upstream import TwoWayTransformer

_WIDTH = 256  # of the embedding and the decoder


def lite_medsam(
    *,
    image_size: int = 256,
    frozen_statistics: bool = True,
    recompute: bool = False,
    prior: Prior = None,
    pixel_mean: float = 0.0,
    pixel_std: float = 1.0,
) -> PromptableModel:
    """Return LiteMedSAM, 9.8 million parameters, for square images of `image_size` (in fours; trained at 256).

    Images of 1 or 3 channels. frozen_statistics, recompute: see TinyViT. prior: see PromptableModel.

    Source: Ma et al., "Segment Anything in Medical Images", Nature Communications 2024, and its LiteMedSAM branch.

    Raises:
        ValueError: image_size not a multiple of 4, a prior that is none.
    """
    if image_size % STRIDE or image_size < STRIDE:
        raise ValueError(f"expected model.image_size to be a multiple of {STRIDE}; got {image_size}")
    tokens = image_size // STRIDE
    model = PromptableModel(
        image_encoder=TinyViT(out=_WIDTH, frozen_statistics=frozen_statistics, recompute=recompute),
        prompt_encoder=BatchPromptEncoder(
            embed_dim=_WIDTH,
            image_embedding_size=(tokens, tokens),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=BatchMaskDecoder(
            transformer_dim=_WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=_WIDTH, num_heads=8, mlp_dim=2048),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=_WIDTH,
        ),
        image_size=image_size,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        prior=prior,
    )
    fuse_attention(model)
    return model
