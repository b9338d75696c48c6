"""Folders described by a dataset.json: the Medical Segmentation Decathlon's and nnU-Net's raw data, version 1 and 2.

imagesTr/x.nii.gz         labelsTr/x.nii.gz    MSD; "training" lists the pairs
imagesTr/x_0000.nii.gz    labelsTr/x.nii.gz    nnU-Net: a file a channel, x_0001 and so on
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.folders import pairs
from segfocal.data.layouts.layout import Source
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.io.volumes import SUFFIXES, stem

_FILE = "dataset.json"
_IGNORE = "ignore"  # nnU-Net's name for voxels that count for nothing


def read(root: Path) -> CaseList:
    """Read the training cases of a folder; imagesTs has no labels.

    Raises:
        UserError: a dataset.json of another form, files of a format that is not read.
    """
    described = read_json(root / _FILE)
    try:
        ending = described.get("file_ending", SUFFIXES[0])
        values, ignored = _values(described.get("labels", {}))
        listed = described.get("training")
        if isinstance(listed, list):
            return CaseList(cases=tuple(_listed(root, row) for row in listed), label_values=values, ignored=ignored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            expected='"labels" as names and values and "training" as a list of {"image", "label"}',
            found=f"{type(error).__name__}: {error}",
            where=root / _FILE,
            do="mend the file",
        ) from error
    if ending not in SUFFIXES:
        raise UserError(
            expected=f"files ending in {', '.join(SUFFIXES)}",
            found=f'"file_ending": {ending!r}',
            where=root / _FILE,
            do="convert them to .nii.gz, and file_ending too",
        )
    cases = pairs(root / "imagesTr", root / "labelsTr").cases
    return CaseList(cases=cases, label_values=values, ignored=ignored)


def _listed(root: Path, row: Mapping[str, str]) -> Case:
    """Return a listed case; nnU-Net v1 lists images without the _0000 that their files carry."""
    image = root / row["image"]
    name, ending = stem(image), image.name.removeprefix(stem(image))
    if image.is_file() or not image.with_name(f"{name}_0000{ending}").is_file():
        return Case(name=name, image=image, label=root / row["label"])
    first, *more = sorted(image.parent.glob(f"{name}_[0-9][0-9][0-9][0-9]{ending}"))
    return Case(name=name, image=first, more=tuple(more), label=root / row["label"])


def _values(labels: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    """Return label values by name, and the value to ignore.

    MSD and nnU-Net v1 write {"1": "liver"}, v2 {"liver": 1}, and {"whole": [1, 2]} for regions, which `target` makes.
    """
    values = {str(name): value for name, value in labels.items() if isinstance(value, int)}
    if not values:
        values = {str(name): int(value) for value, name in labels.items() if not isinstance(name, list)}
    ignored = values.pop(_IGNORE, None)
    return {name: value for name, value in values.items() if value != 0}, ignored


SOURCE = Source(
    layout=f"a folder with {_FILE}, as MSD's and nnU-Net's", knows=lambda root: (root / _FILE).is_file(), read=read
)
