"""Every way labelled scans can be laid out, one small module a layout.

To add a layout, write a module with a `Layout` (see `layout.py`) and name it in `LAYOUTS`: the first that knows a file
or folder reads it.
"""

from segfocal.data.layouts import bids, case_folders, dataset_json, dicom, folders, manifest, sam_med2d
from segfocal.data.layouts.layout import Layout

LAYOUTS: tuple[Layout, ...] = (
    manifest.CSV,
    manifest.JSONL,
    dataset_json.LAYOUT,
    sam_med2d.LAYOUT,
    bids.LAYOUT,
    folders.LAYOUT,
    case_folders.LAYOUT,
    dicom.LAYOUT,
)

__all__ = ["LAYOUTS", "Layout"]
