"""SAM's own sizes, SAM-Med2D and MedSAM; every parameter has the name it has in their weight files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segfocal.models.sam.architecture import VIT_B, VIT_H, VIT_L, build_sam
from segfocal.models.sam.families import MEDSAM, SAM, SAM_MED2D
from segfocal.models.sam.promptable_model import PromptableModel


def sam_vit_b(
    *,
    image_size: int = 256,
    adapter: str = "none",
    rank: int = 8,
    alpha: float = 8.0,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    checkpointing: bool = False,
    multimask: bool = SAM.multimask,
    channel_order: str = SAM.channel_order,
    pixel_mean: float | Sequence[float] = SAM.pixel_mean,
    pixel_std: float | Sequence[float] = SAM.pixel_std,
) -> PromptableModel:
    """Return SAM with a ViT-B encoder, 91 million parameters, for square images of `image_size` (in sixteens).

    Grey images in [0,1] are repeated to three channels, RGB ones are taken too.

    Args:
        image_size: pixels of a side; SAM's own weights are of 1024.
        adapter: "none", "sam_med2d", "bottleneck" or "lora", in every block of the encoder.
        rank: channels of a bottleneck, rank of LoRA.
        alpha: LoRA's change counts alpha / rank times.
        freeze: name patterns of parameters that are not trained, as "image_encoder.*".
        train: name patterns of exceptions, as "*.Adapter.*" or "*.lora_*".
        checkpointing: encoder blocks and decoding are done again in the backward pass, for memory.
        multimask: one prompt is answered by the best of three masks instead of the single one; see PromptableModel.
        channel_order: "rgb" or "bgr", in which the network takes colours.
        pixel_mean: of images in [0,1], one a channel or one for all.
        pixel_std: likewise.

    Raises:
        ValueError: image_size not a multiple of 16, an adapter or channel order that is none, a pattern that matches
            no parameter.
    Source: Kirillov et al., "Segment Anything", ICCV 2023.
    """
    family = replace(SAM, multimask=multimask, channel_order=channel_order, pixel_mean=pixel_mean, pixel_std=pixel_std)
    return build_sam(
        VIT_B,
        family,
        image_size=image_size,
        adapter=adapter,
        rank=rank,
        alpha=alpha,
        freeze=freeze,
        train=train,
        checkpointing=checkpointing,
    )


def sam_vit_l(
    *,
    image_size: int = 256,
    adapter: str = "none",
    rank: int = 8,
    alpha: float = 8.0,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    checkpointing: bool = False,
    multimask: bool = SAM.multimask,
    channel_order: str = SAM.channel_order,
    pixel_mean: float | Sequence[float] = SAM.pixel_mean,
    pixel_std: float | Sequence[float] = SAM.pixel_std,
) -> PromptableModel:
    """Return SAM with a ViT-L encoder, 308 million parameters. Arguments: see sam_vit_b."""
    family = replace(SAM, multimask=multimask, channel_order=channel_order, pixel_mean=pixel_mean, pixel_std=pixel_std)
    return build_sam(
        VIT_L,
        family,
        image_size=image_size,
        adapter=adapter,
        rank=rank,
        alpha=alpha,
        freeze=freeze,
        train=train,
        checkpointing=checkpointing,
    )


def sam_vit_h(
    *,
    image_size: int = 256,
    adapter: str = "none",
    rank: int = 8,
    alpha: float = 8.0,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    checkpointing: bool = False,
    multimask: bool = SAM.multimask,
    channel_order: str = SAM.channel_order,
    pixel_mean: float | Sequence[float] = SAM.pixel_mean,
    pixel_std: float | Sequence[float] = SAM.pixel_std,
) -> PromptableModel:
    """Return SAM with a ViT-H encoder, 636 million parameters. Arguments: see sam_vit_b."""
    family = replace(SAM, multimask=multimask, channel_order=channel_order, pixel_mean=pixel_mean, pixel_std=pixel_std)
    return build_sam(
        VIT_H,
        family,
        image_size=image_size,
        adapter=adapter,
        rank=rank,
        alpha=alpha,
        freeze=freeze,
        train=train,
        checkpointing=checkpointing,
    )


def sam_med2d(
    *,
    image_size: int = 256,
    freeze: Sequence[str] = ("image_encoder.*",),
    train: Sequence[str] = ("*.Adapter.*",),
    checkpointing: bool = False,
    multimask: bool = SAM_MED2D.multimask,
    mask_probabilities: bool = SAM_MED2D.mask_probabilities,
    channel_order: str = SAM_MED2D.channel_order,
    pixel_mean: float | Sequence[float] = SAM_MED2D.pixel_mean,
    pixel_std: float | Sequence[float] = SAM_MED2D.pixel_std,
) -> PromptableModel:
    """Return SAM-Med2D: a ViT-B with an adapter in every block, 271 million parameters.

    As published, the encoder is frozen but for its adapters, while prompt encoder and mask decoder are trained; one
    prompt is answered by the best of three masks. Arguments: see sam_vit_b.

    mask_probabilities: mask prompts go in as probabilities (they are always given as logits).
    Source: Cheng et al., "SAM-Med2D", 2023; OpenGVLab/SAM-Med2D.
    """
    family = replace(
        SAM_MED2D,
        multimask=multimask,
        mask_probabilities=mask_probabilities,
        channel_order=channel_order,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
    )
    return build_sam(
        VIT_B,
        family,
        image_size=image_size,
        adapter="sam_med2d",
        freeze=freeze,
        train=train,
        checkpointing=checkpointing,
    )


def medsam(
    *,
    image_size: int = 1024,
    adapter: str = "none",
    rank: int = 8,
    alpha: float = 8.0,
    freeze: Sequence[str] = (),
    train: Sequence[str] = (),
    checkpointing: bool = False,
    multimask: bool = MEDSAM.multimask,
    channel_order: str = MEDSAM.channel_order,
    pixel_mean: float | Sequence[float] = MEDSAM.pixel_mean,
    pixel_std: float | Sequence[float] = MEDSAM.pixel_std,
) -> PromptableModel:
    """Return MedSAM: SAM's ViT-B for boxes, its images in [0,1] as they are. Arguments: see sam_vit_b.

    Source: Ma et al., "Segment anything in medical images", Nature Communications 2024.
    """
    family = replace(
        MEDSAM, multimask=multimask, channel_order=channel_order, pixel_mean=pixel_mean, pixel_std=pixel_std
    )
    return build_sam(
        VIT_B,
        family,
        image_size=image_size,
        adapter=adapter,
        rank=rank,
        alpha=alpha,
        freeze=freeze,
        train=train,
        checkpointing=checkpointing,
    )
