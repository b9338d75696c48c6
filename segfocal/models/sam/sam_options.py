"""What a user may set of SAM, SAM-Med2D, MedSAM, LiteMedSAM and MobileSAM, in one checked record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segfocal.models.sam.families import SAM, Family
from segfocal.models.sam.promptable_model import PromptableOptions


@dataclass(frozen=True, kw_only=True)
class SamOptions:
    """Options of a model of SAM's kind; the defaults are SAM's own.

    Args:
        image_size: pixels of a side; SAM's own weights are of 1024.
        adapter: "none", "sam_med2d", "bottleneck" or "lora", in every block of the encoder.
        rank: channels of a bottleneck, rank of LoRA.
        alpha: LoRA's change counts alpha / rank times.
        freeze: name patterns of parameters that are not trained, as "image_encoder.*".
        train: name patterns of exceptions, as "*.Adapter.*" or "*.lora_*".
        frozen_statistics: TinyViT's batch norm keeps the means and variances it has, also in training. Those of a
            few slices of one scan are poor estimates, and evaluation would use averages of them; False is for training
            from random numbers.
        checkpointing: encoder blocks and decoding are done again in the backward pass, for memory.
        multimask: one prompt is answered by the best of three masks instead of the single one; see PromptableOptions.
        mask_probabilities: the weights know mask prompts as probabilities; they are always given as logits.
        correction_decoder: a second mask decoder, at first a copy, answers prompts with clicks or a mask, and is
            trained; boxes alone keep the answers of the first, which is frozen, as the encoder is.
        channel_order: "rgb" or "bgr", in which the network takes colours.
        pixel_mean: of images in [0,1], one a channel or one for all.
        pixel_std: likewise.

    Raises:
        ValueError: a correction decoder with batch norm statistics that training changes.
    """

    image_size: int = 256
    adapter: str = "none"
    rank: int = 8
    alpha: float = 8.0
    freeze: Sequence[str] = ()
    train: Sequence[str] = ()
    frozen_statistics: bool = True
    checkpointing: bool = False
    multimask: bool = SAM.multimask
    mask_probabilities: bool = SAM.mask_probabilities
    correction_decoder: bool = False
    channel_order: str = SAM.channel_order
    pixel_mean: float | Sequence[float] = SAM.pixel_mean
    pixel_std: float | Sequence[float] = SAM.pixel_std

    def __post_init__(self) -> None:
        if self.correction_decoder and not self.frozen_statistics:
            raise ValueError(
                "expected model.frozen_statistics=true with model.correction_decoder=true, whose answers to boxes stay "
                "as they are; got false"
            )

    @classmethod
    def of(cls, family: Family, **options: Any) -> SamOptions:
        """Return options that take images and prompts as the weights of a family do."""
        return cls(
            multimask=family.multimask,
            mask_probabilities=family.mask_probabilities,
            channel_order=family.channel_order,
            pixel_mean=family.pixel_mean,
            pixel_std=family.pixel_std,
            **options,
        )

    def promptable(self) -> PromptableOptions:
        """Return the part of them that does not depend on the encoder."""
        return PromptableOptions(
            image_size=self.image_size,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            channel_order=self.channel_order,
            multimask=self.multimask,
            checkpointing=self.checkpointing,
        )
