"""Thumbnails: a slice in its true proportions with outlines in colour."""

import base64
import io

import numpy as np
from PIL import Image

from segfocal.report.thumbnail import thumbnail


def test_a_thumbnail_has_the_shape_of_the_slice_and_outlines_in_colour():
    label = np.zeros((40, 30), np.int16)
    label[10:30, 10:20] = 5
    url = thumbnail(np.full((40, 30), 0.5, np.float32), label, aspect=2.0)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
    assert picture.shape == (192, 72, 3)
    coloured = (picture != picture[..., :1]).any(2)
    assert coloured.any()
    assert not coloured[:40].any()
    assert not coloured[96, 36]  # inside the outline
