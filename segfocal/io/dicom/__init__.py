"""DICOM: series in, segmentations and contours in, segmentations out.

Start with `pixels.py`, which reads a series; `labels.py` reads the labels of one; `seg_writer.py` writes them.
"""

from segfocal.io.dicom.pixels import read, read_grid, read_stored

__all__ = ["read", "read_grid", "read_stored"]
