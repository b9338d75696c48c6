"""Labels that lie beside their scans in one folder, told by their names: x_label beside x_image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from segfocal.io.file_names import composed
from segfocal.io.volumes import stem

ENDING = re.compile(r"[_-](seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)
_SCAN = re.compile(r"[_-](image|img|scan|volume|0000)$", re.IGNORECASE)


def labels_beside(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the files that are named as the label of another one beside them, each with its scan.

    The scan of x_label (also _labels, _seg, _mask, _gt …) is x, or x_image, x_img, x_scan, x_volume, x_0000. A file
    that is named so without such a scan beside it is none.
    """
    files = sorted(paths)
    scans: dict[tuple[Path, str], Path] = {}
    for path in files:
        name = composed(stem(path))
        if not ENDING.search(name):
            scans.setdefault((path.parent, _SCAN.sub("", name)), path)
    named = {path: (path.parent, ENDING.sub("", composed(stem(path)))) for path in files}
    return {path: scans[key] for path, key in named.items() if key in scans and scans[key] != path}
