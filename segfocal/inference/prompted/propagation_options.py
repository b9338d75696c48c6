"""What a slice hands on to the next one, and where that ends: the options `propagate` of the predict command."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

CARRIED = ("box", "mask", "point")
CHANGES = ("component", "slice")
LARGEST_ZOOM = 100.0


@dataclass(frozen=True, kw_only=True)
class PropagationOptions:
    """What the answer of a slice becomes as a prompt of the next one, and the rules that end this.

    Args:
        carry: "box", "mask", "point" or several as "box+mask": the box around the answer's mask, its logits, the pixel
            farthest from its border. A box alone is what every promptable model understands.
        margin_mm: added to each side of that box, ≥ 0.
        min_area_mm2: a smaller mask ends it.
        min_stability: so does a smaller ratio of the areas whose logits are above 1 and above −1, in [0,1].
        min_iou: so does a lower predicted IoU, in [0,1]; None, the default, as few models have a trained IoU head.
        min_overlap: so does a lower Dice with the mask of the slice before, in [0,1].
        max_area_change: so does a mask so many times larger or smaller than that one, ≥ 1.
        max_intensity_change: so does a mean intensity, in [0,1], farther than this from that on the prompted slice.
        change: what a point, scribble or outside lasso may change of its slice's answer: the "component" that it
            touches, the default, or the whole "slice", as the model answers it.
        zoom: sides of a window in sides of the box that is asked about, ≥ 1, "auto", or None, the default, for the
            model's own pixels. Windows then grow while the mask meets their border. "auto" is 4 for encoders of colour
            images, whose published weights saw targets of every size, and None for others.
        reach_mm: the distance from the prompted slice at which it ends; None: the end of the scan.

    Raises:
        ValueError: an option out of its range.
    Source: the stability score is that of Kirillov et al., "Segment Anything", 2023, section 5.
    """

    carry: str = "box"
    margin_mm: float = 6.0
    min_area_mm2: float = 20.0
    min_stability: float = 0.5
    min_iou: float | None = None
    min_overlap: float = 0.2
    max_area_change: float = 4.0
    max_intensity_change: float = 0.15
    change: str = "component"
    zoom: float | str | None = None
    reach_mm: float | None = None

    def __post_init__(self) -> None:
        parts = self.carry.split("+") if isinstance(self.carry, str) else [""]
        if not set(parts) <= set(CARRIED) or len(set(parts)) < len(parts):
            raise ValueError(f"expected propagate.carry of {', '.join(CARRIED)}, as box+mask; got {self.carry!r}")
        if self.change not in CHANGES:
            raise ValueError(f"expected propagate.change component or slice; got {self.change!r}")
        zoom: Any = self.zoom
        if zoom not in (None, "auto") and not (type(zoom) in (int, float) and 1 <= zoom <= LARGEST_ZOOM):
            raise ValueError(f"expected propagate.zoom from 1 to {LARGEST_ZOOM:g}, auto or null; got {self.zoom!r}")
        bounds = {"margin_mm": (0, 1000), "min_area_mm2": (0, math.inf), "min_stability": (0, 1)}
        bounds |= {"min_overlap": (0, 1), "max_area_change": (1, math.inf), "max_intensity_change": (0, math.inf)}
        bounds |= {} if self.min_iou is None else {"min_iou": (0, 1)}
        bounds |= {} if self.reach_mm is None else {"reach_mm": (0, math.inf)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not low <= value <= high:
                raise ValueError(f"expected propagate.{name} from {low} to {high}; got {value!r}")

    @property
    def parts(self) -> list[str]:
        """Of an answer, what is handed on: any of box, mask, point."""
        return self.carry.split("+")
