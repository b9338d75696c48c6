"""Prompts of a promptable model (clicks, boxes, masks, or none), and how they are drawn from a target.

Start with `prompt.py`; `clicks.py` and `boxes.py` draw prompts, `prompt_channels.py` makes images of them.

Coordinates are pixels of the model's image, x to the right and y down. A box is half-open, from the first pixel of its
target to one past the last. Every sampler is a pure function of masks and of uniform numbers in [0,1), one row a
prompt, so a prompt does not depend on the rest of the batch.
"""

from segfocal.prompts.boxes import boxes_of, jitter_boxes, shift_boxes
from segfocal.prompts.clicks import central_clicks_in, clicks_in, error_clicks
from segfocal.prompts.prompt import ABSENT, Prompt
from segfocal.prompts.regions import component_of, depth_of

__all__ = [
    "ABSENT",
    "Prompt",
    "boxes_of",
    "central_clicks_in",
    "clicks_in",
    "component_of",
    "depth_of",
    "error_clicks",
    "jitter_boxes",
    "shift_boxes",
]
