"""Folders described by a dataset.json: the Medical Segmentation Decathlon's and nnU-Net's raw data, version 1 and 2.

imagesTr/x.nii.gz         labelsTr/x.nii.gz    MSD; "training" lists the pairs
imagesTr/x_0000.nii.gz    labelsTr/x.nii.gz    nnU-Net: a file a channel, x_0001 and so on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.folders import read_pair, unused_labels
from segfocal.data.layouts.layout import Contents, Layout, Problem, collected, no_cases
from segfocal.data.layouts.listed_cases import FILE, expected_form, listed_cases
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.io.file_names import composed
from segfocal.io.passed_over import PassedOver, Reason, left_over
from segfocal.io.volumes import SUFFIXES, stem

_IGNORE = "ignore"  # nnU-Net's name for voxels that count for nothing


def read(root: Path) -> Contents:
    """Read the training cases of a folder; imagesTs has no labels.

    A dataset.json of another form and files of a format that is not read are problems. Where the file lists no case,
    those of imagesTr and labelsTr are taken.
    """
    problems: list[Problem] = []
    described: Any = {}
    with collected(problems):
        described = read_json(root / FILE)
    values, ignored = dict[str, int](), None
    with collected(problems), expected_form(root):
        values, ignored = _label_values(described.get("labels", {}))
    described = described if isinstance(described, dict) else {}
    cases = listed_cases(root, described, problems)
    passed = _not_listed(root, cases) if cases else ()
    if not cases:
        if not isinstance(described.get("training"), list):
            with collected(problems):
                _check_ending(root, described.get("file_ending", SUFFIXES[0]))
        elif not problems:
            problems.append(no_cases(root))
        folders = read_pair(root / "imagesTr", root / "labelsTr")
        cases, passed = folders.found.cases, folders.found.passed_over
        problems += folders.problems
    return Contents(
        found=CaseList(cases=cases, label_values=values, ignored=ignored, passed_over=passed),
        problems=tuple(problems),
        channels=_channels(described),
        region_values=_region_values(described.get("labels"), values),
        modality=_modality(described),
    )


def _not_listed(root: Path, cases: Sequence[Case]) -> tuple[PassedOver, ...]:
    """Return what lies in imagesTr and labelsTr and belongs to no listed case."""
    used = [path for case in cases for path in case.images]
    images = left_over(root / "imagesTr", used, Reason.NOT_LISTED)
    names = {composed(stem(one.path)) for one in images}
    labels = [
        PassedOver(path=one.path, reason=Reason.NOT_LISTED) if composed(stem(one.path)) in names else one
        for one in unused_labels(root / "labelsTr", cases)
    ]
    return (*images, *labels)


def _check_ending(root: Path, ending: Any) -> None:
    """Raise UserError where dataset.json says that files are of a format that is not read."""
    if str(ending).lower() not in SUFFIXES:
        raise UserError(
            expected=f"files ending in {', '.join(SUFFIXES)}",
            found=f'"file_ending": {ending!r}',
            where=root / FILE,
            do="convert them to .nii.gz, and file_ending too",
        )


def _label_values(labels: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    """Return label values by name, and the value to ignore.

    MSD and nnU-Net v1 write {"1": "liver"}, v2 {"liver": 1}, and {"whole": [1, 2]} for regions, which `target` makes.
    """
    listed = {str(key): value for key, value in labels.items() if not isinstance(value, list)}
    if all(str(value).isdecimal() for value in listed.values()):
        values = {name: int(value) for name, value in listed.items()}
    elif all(key.isdecimal() for key in listed):
        values = {str(name): int(value) for value, name in listed.items()}
    else:
        by_name = next(key for key in listed if not key.isdecimal())
        by_value = next(key for key, value in listed.items() if not str(value).isdecimal())
        raise UserError(
            expected='"labels" all as {"1": "liver"} or all as {"liver": 1}',
            found=f'"{by_name}": {listed[by_name]!r} beside "{by_value}": {listed[by_value]!r}',
            where=FILE,
            do="write them one way",
        )
    ignored = values.pop(_IGNORE, None)
    return {name: value for name, value in values.items() if value != 0}, ignored


def _region_values(labels: Any, known: Mapping[str, int]) -> dict[str, int]:
    """Return the label values that have no name of their own but belong to a region, a list of values."""
    more: dict[str, int] = {}
    for name, value in labels.items() if isinstance(labels, dict) else ():
        for one in value if isinstance(value, list) else ():
            if isinstance(one, int) and one not in (0, *known.values()):
                more[f"{name}, {one}"] = one
    return more


def _channels(described: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the numbers of the channels that every case has by dataset.json."""
    channels = described.get("channel_names") or described.get("modality")
    return tuple(f"{number:04d}" for number in range(len(channels))) if isinstance(channels, dict) else ()


def _modality(described: Mapping[str, Any]) -> str:
    """Return "ct" or "other" by the names of the channels, "" where there are none."""
    channels = described.get("channel_names") or described.get("modality")
    words = [str(word).lower() for word in channels.values()] if isinstance(channels, dict) else []
    return "" if not words else "ct" if any("ct" in word.split() for word in words) else "other"


LAYOUT = Layout(
    description=f"a folder with {FILE}, as MSD's and nnU-Net's", knows=lambda root: (root / FILE).is_file(), read=read
)
