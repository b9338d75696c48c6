"""Networks, and the list of those that a bundle may ask for.

Start with `unet.py`; then `prompt_unet.py` and `sam/` for promptable models, `weights/` for weight files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from segfocal.models.freezing import ParameterGroup, parameter_table
from segfocal.models.prompt_unet import PromptUNet
from segfocal.models.sam.promptable_model import Answer, PromptableModel
from segfocal.models.sam.tiny import sam_tiny
from segfocal.models.sam.variants import lite_medsam, medsam, mobile_sam, sam_med2d, sam_vit_b, sam_vit_h, sam_vit_l
from segfocal.models.segmentation_model import SegmentationModel
from segfocal.models.unet import UNet
from segfocal.models.weights import WeightsReport, load_weights

ALLOWED: dict[str, Callable[..., nn.Module]] = {
    "segfocal.models.lite_medsam": lite_medsam,
    "segfocal.models.sam_tiny": sam_tiny,
    "segfocal.models.sam_vit_b": sam_vit_b,
    "segfocal.models.sam_vit_l": sam_vit_l,
    "segfocal.models.sam_vit_h": sam_vit_h,
    "segfocal.models.sam_med2d": sam_med2d,
    "segfocal.models.medsam": medsam,
    "segfocal.models.mobile_sam": mobile_sam,
    "segfocal.models.PromptUNet": PromptUNet,
    "segfocal.models.UNet": UNet,
}

# Arguments that bundles of before do not name, where the default became another.
_BEFORE: dict[str, dict[str, Any]] = {"segfocal.models.PromptUNet": {"prompts": ["clicks", "box", "mask"]}}


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build the model of a config (`_target_` and its arguments), from the allow-list only.

    Raises:
        ValueError: a `_target_` that is not on the list. Nothing is imported or called for it.
    """
    arguments = dict(config)
    target = arguments.pop("_target_", None)
    if target not in ALLOWED:
        raise ValueError(f"expected a model of {sorted(ALLOWED)}; got {target!r}")
    return ALLOWED[target](**{**_BEFORE.get(target, {}), **arguments})


__all__ = [
    "ALLOWED",
    "Answer",
    "ParameterGroup",
    "PromptUNet",
    "PromptableModel",
    "SegmentationModel",
    "UNet",
    "WeightsReport",
    "build",
    "lite_medsam",
    "load_weights",
    "medsam",
    "mobile_sam",
    "parameter_table",
    "sam_med2d",
    "sam_tiny",
    "sam_vit_b",
    "sam_vit_h",
    "sam_vit_l",
]
