"""A small picture of a slice with the outlines of its label, ready to stand in a page."""

from __future__ import annotations

import base64
import colorsys
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 192  # pixels
_TURN = 0.618034  # of the circle of hues from one label value to the next: neighbours differ


def thumbnail(image: NDArray, label: NDArray | None, *, aspect: float) -> str:
    """Return a slice with the outline of each label value in its own colour, as the data URL of a PNG.

    Args:
        image: [h,w] in [0,1].
        label: integers [h,w]; None draws no outlines.
        aspect: height of a pixel over its width.
    """
    height, width = image.shape[0] * aspect, float(image.shape[1])
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = Image.fromarray(np.uint8(np.round(255 * np.clip(image, 0, 1)))).resize(size, Image.Resampling.BILINEAR)
    pixels = np.array(grey.convert("RGB"))
    if label is not None:
        large = np.array(Image.fromarray(label.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
        edge = _outline(large)
        for value in np.unique(large[edge]):
            pixels[edge & (large == value)] = colour_of(int(value))
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def colour_of(value: int) -> tuple[int, int, int]:
    """Return the red, green and blue of a label value, each 0…255."""
    red, green, blue = colorsys.hsv_to_rgb((value * _TURN) % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _outline(label: NDArray) -> NDArray[np.bool_]:
    """Return the labelled pixels with a neighbour of another value."""
    padded = np.pad(label, 1, mode="edge")
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (label != 0) & np.logical_or.reduce([label != side for side in around])
