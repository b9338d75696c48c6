"""Every way labelled scans can be laid out, one small module a layout.

To add a layout, write a module with a `Source` (see `layout.py`) and name it in `SOURCES`: the first that knows a file
or folder reads it.
"""

from segfocal.data.layouts import bids, case_folders, dataset_json, dicom, folders, manifest, sam_med2d
from segfocal.data.layouts.layout import Source

SOURCES: tuple[Source, ...] = (
    manifest.CSV,
    manifest.JSONL,
    dataset_json.SOURCE,
    sam_med2d.SOURCE,
    bids.SOURCE,
    folders.SOURCE,
    case_folders.SOURCE,
    dicom.SOURCE,
)

__all__ = ["SOURCES", "Source"]
