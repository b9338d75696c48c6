"""DICOM: series in, segmentations and contours in, segmentations out.

Start with `pixels.py`, which reads a series; `labels.py` reads what was drawn on one; `seg_writer.py` writes.
"""

from segfocal.io.dicom.pixels import read, read_grid, read_stored

__all__ = ["read", "read_grid", "read_stored"]
