"""Prompts of a promptable model (clicks, boxes, masks, scribbles, lassos, or none), and how targets give them.

Start with `prompt.py`; `clicks.py`, `boxes.py` and `drawn_strokes.py` draw prompts, `strokes.py` says what a scribble
and a lasso are, `prompt_channels.py` makes images of all.

Coordinates are pixels of the model's image, x to the right and y down. A box is half-open, from the first pixel of its
target to one past the last. Every sampler is a pure function of masks and of uniform numbers in [0,1), one row a
prompt, so a prompt does not depend on the rest of the batch.
"""

from segfocal.prompts.boxes import boxes_of, jitter_boxes, shift_boxes
from segfocal.prompts.clicks import central_clicks_in, clicks_in, error_clicks
from segfocal.prompts.drawn_strokes import LASSO_DRAWS, SCRIBBLE_DRAWS, component_at, lassos_around, scribbles_in
from segfocal.prompts.prompt import ABSENT, Prompt
from segfocal.prompts.regions import component_of, depth_of
from segfocal.prompts.strokes import as_clicks_and_boxes, draw_line, fill_outline

__all__ = [
    "ABSENT",
    "LASSO_DRAWS",
    "SCRIBBLE_DRAWS",
    "Prompt",
    "as_clicks_and_boxes",
    "boxes_of",
    "central_clicks_in",
    "clicks_in",
    "component_at",
    "component_of",
    "depth_of",
    "draw_line",
    "error_clicks",
    "fill_outline",
    "jitter_boxes",
    "lassos_around",
    "scribbles_in",
    "shift_boxes",
]
