"""What the published weights of each family expect of images and prompts, in one place.

A model takes these values as arguments, so that they travel in its bundle. Our images are in [0,1], grey or RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a family's images and prompts looked in training.

    Args:
        pixel_mean: what images in [0,1] are standardised by, one number or one a channel, in `channel_order`.
        pixel_std: likewise, > 0.
        channel_order: "rgb" or "bgr", in which the network takes its three channels; grey is repeated to three.
        fit: how an image becomes a square. "pad": its longest side becomes the model's, the rest, right and below, is 0
            after standardising. "stretch": both sides become the model's.
        multimask: one prompt was answered by several masks, of which the one of best predicted IoU counts.
        mask_probabilities: mask prompts were probabilities instead of logits.
    """

    pixel_mean: float | Sequence[float]
    pixel_std: float | Sequence[float]
    channel_order: str = "rgb"
    fit: str
    multimask: bool = False
    mask_probabilities: bool = False


# 123.675, 116.28, 103.53 and 58.395, 57.12, 57.375 of images in [0,255]: ImageNet's
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SAM = Family(pixel_mean=_MEAN, pixel_std=_STD, fit="pad")

# Read by OpenCV, so blue comes first, yet standardised by SAM's numbers as they stand; images smaller than the model's
# size were centred in zeros instead of stretched.
SAM_MED2D = Family(
    pixel_mean=_MEAN, pixel_std=_STD, channel_order="bgr", fit="stretch", multimask=True, mask_probabilities=True
)

# Each image scaled to [0,1] by its own smallest and largest value after windowing.
MEDSAM = Family(pixel_mean=0.0, pixel_std=1.0, fit="stretch")
LITE_MEDSAM = Family(pixel_mean=0.0, pixel_std=1.0, fit="pad")

FAMILIES = {"sam": SAM, "sam_med2d": SAM_MED2D, "medsam": MEDSAM, "lite_medsam": LITE_MEDSAM}
