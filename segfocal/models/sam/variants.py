"""SAM's own sizes and the models made after it as rows of one table; parameters have the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from segfocal.models.sam.architecture import VIT_B, VIT_H, VIT_L, build_sam
from segfocal.models.sam.families import LITE_MEDSAM, MEDSAM, SAM, SAM_MED2D
from segfocal.models.sam.sam_model import SamModel
from segfocal.models.sam.sam_options import SamOptions
from segfocal.models.sam.tiny_vit import PIXELS, QUARTERS
from segfocal.models.sam.tiny_vit_sam import build_tiny_vit_sam


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A published model.

    Args:
        build: makes it from its options.
        defaults: its options as published.
        fixed: names of options that cannot be set.
    """

    build: Callable[[SamOptions], SamModel]
    defaults: SamOptions
    fixed: frozenset[str]

    def arguments(self) -> dict[str, Any]:
        """Return the options that can be set, with their defaults."""
        return {name: value for name, value in asdict(self.defaults).items() if name not in self.fixed}


_NOT_SAM = frozenset({"frozen_statistics", "mask_probabilities"})
_ADAPTER = frozenset({"adapter", "rank", "alpha"})
_NOT_TINY_VIT = _ADAPTER | {"mask_probabilities"}

VARIANTS = {
    "sam_vit_b": Variant(build=partial(build_sam, VIT_B), defaults=SamOptions.of(SAM), fixed=_NOT_SAM),
    "sam_vit_l": Variant(build=partial(build_sam, VIT_L), defaults=SamOptions.of(SAM), fixed=_NOT_SAM),
    "sam_vit_h": Variant(build=partial(build_sam, VIT_H), defaults=SamOptions.of(SAM), fixed=_NOT_SAM),
    "sam_med2d": Variant(
        build=partial(build_sam, VIT_B),
        defaults=SamOptions.of(SAM_MED2D, adapter="sam_med2d", freeze=("image_encoder.*",), train=("*.Adapter.*",)),
        fixed=_ADAPTER | {"frozen_statistics"},
    ),
    "medsam": Variant(build=partial(build_sam, VIT_B), defaults=SamOptions.of(MEDSAM, image_size=1024), fixed=_NOT_SAM),
    "lite_medsam": Variant(
        build=partial(build_tiny_vit_sam, PIXELS), defaults=SamOptions.of(LITE_MEDSAM), fixed=_NOT_TINY_VIT
    ),
    "mobile_sam": Variant(
        build=partial(build_tiny_vit_sam, QUARTERS), defaults=SamOptions.of(SAM), fixed=_NOT_TINY_VIT
    ),
}


def build_variant(name: str, options: Mapping[str, Any]) -> SamModel:
    """Return a model of the table, with some of its options changed.

    Raises:
        TypeError: an option that it does not have.
        ValueError: an option's value that is impossible; see build_sam and build_tiny_vit_sam.
    """
    variant = VARIANTS[name]
    for option in options:
        if option not in variant.arguments():
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
    return variant.build(replace(variant.defaults, **options))


def sam_vit_b(**options: Any) -> SamModel:
    """Return SAM with a ViT-B encoder, 91 million parameters, for square images of `image_size` (in sixteens).

    Grey images in [0,1] are repeated to three channels, RGB ones are taken too. options: those of SamOptions but
    frozen_statistics and mask_probabilities.

    Source: Kirillov et al., "Segment Anything", ICCV 2023.
    """
    return build_variant("sam_vit_b", options)


def sam_vit_l(**options: Any) -> SamModel:
    """Return SAM with a ViT-L encoder, 308 million parameters; options as of sam_vit_b."""
    return build_variant("sam_vit_l", options)


def sam_vit_h(**options: Any) -> SamModel:
    """Return SAM with a ViT-H encoder, 636 million parameters; options as of sam_vit_b."""
    return build_variant("sam_vit_h", options)


def sam_med2d(**options: Any) -> SamModel:
    """Return SAM-Med2D: a ViT-B with an adapter in every block, 271 million parameters.

    As published, the encoder is frozen but for its adapters, while prompt encoder and mask decoder are trained; one
    prompt is answered by the best of three masks. options: those of sam_vit_b and mask_probabilities, but adapter,
    rank and alpha.

    Source: Cheng et al., "SAM-Med2D", 2023; OpenGVLab/SAM-Med2D.
    """
    return build_variant("sam_med2d", options)


def medsam(**options: Any) -> SamModel:
    """Return MedSAM: SAM's ViT-B for boxes, its images in [0,1] as they are; options as of sam_vit_b.

    Source: Ma et al., "Segment anything in medical images", Nature Communications 2024.
    """
    return build_variant("medsam", options)


def lite_medsam(**options: Any) -> SamModel:
    """Return LiteMedSAM, 9.8 million parameters, for square images of `image_size` (in fours; trained at 256).

    Grey images in [0,1] are repeated to three channels, RGB ones are taken too. options: those of sam_vit_b and
    frozen_statistics, but adapter, rank and alpha.

    Source: Ma et al., "Segment anything in medical images", Nature Communications 2024; bowang-lab/MedSAM, LiteMedSAM.
    """
    return build_variant("lite_medsam", options)


def mobile_sam(**options: Any) -> SamModel:
    """Return MobileSAM, 9.8 million parameters, for square images of `image_size` (in sixteens; trained at 1024).

    It was taught to give the embeddings of SAM's ViT-H, whose prompt encoder and mask decoder it has. options: those of
    lite_medsam.

    Source: Zhang et al., "Faster Segment Anything: Towards Lightweight SAM for Mobile Applications", 2023;
    ChaoningZhang/MobileSAM.
    """
    return build_variant("mobile_sam", options)
