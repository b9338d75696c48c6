"""NIfTI: volumes in and out.

Start with `reader.py` and `writer.py`; `header.py` is checked before a byte of voxels is read, and
`geometry.py` says where they lie.
"""

from segfocal.io.nifti.header import SUFFIXES, check_suffix, is_nifti
from segfocal.io.nifti.in_memory import image_on, is_image, volume_at, volume_of
from segfocal.io.nifti.reader import (
    ALMOST_WHOLE,
    check_label_map,
    like_an_image,
    read,
    read_as_is,
    read_grid,
    read_labels,
    read_stored,
)
from segfocal.io.nifti.voxels import smallest_integer_type
from segfocal.io.nifti.writer import image_like, write, write_new, write_probabilities

__all__ = [
    "ALMOST_WHOLE",
    "SUFFIXES",
    "check_label_map",
    "check_suffix",
    "image_like",
    "image_on",
    "is_image",
    "is_nifti",
    "like_an_image",
    "read",
    "read_as_is",
    "read_grid",
    "read_labels",
    "read_stored",
    "smallest_integer_type",
    "volume_at",
    "volume_of",
    "write",
    "write_new",
    "write_probabilities",
]
