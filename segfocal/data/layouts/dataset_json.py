"""Folders described by a dataset.json: the Medical Segmentation Decathlon's and nnU-Net's raw data, version 1 and 2.

imagesTr/x.nii.gz         labelsTr/x.nii.gz    MSD; "training" lists the pairs
imagesTr/x_0000.nii.gz    labelsTr/x.nii.gz    nnU-Net: a file a channel, x_0001 and so on
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.folders import read_pair, unused_labels
from segfocal.data.layouts.layout import Contents, Layout, Problem, collected, no_cases
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.io.volumes import SUFFIXES, stem

_FILE = "dataset.json"
_IGNORE = "ignore"  # nnU-Net's name for voxels that count for nothing


def read(root: Path) -> Contents:
    """Read the training cases of a folder; imagesTs has no labels.

    A dataset.json of another form and files of a format that is not read are problems. Where the file lists no case,
    those of imagesTr and labelsTr are taken.
    """
    problems: list[Problem] = []
    described: Any = {}
    with collected(problems):
        described = read_json(root / _FILE)
    values, ignored = dict[str, int](), None
    with collected(problems), _expected_form(root):
        values, ignored = _label_values(described.get("labels", {}))
    described = described if isinstance(described, dict) else {}
    cases = _listed_cases(root, described.get("training"), problems)
    unused = unused_labels(root / "labelsTr", cases)
    if not cases:
        if not isinstance(described.get("training"), list):
            with collected(problems):
                _check_ending(root, described.get("file_ending", SUFFIXES[0]))
        elif not problems:
            problems.append(no_cases(root))
        folders = read_pair(root / "imagesTr", root / "labelsTr")
        cases, unused = folders.found.cases, folders.unused_labels
    return Contents(
        found=CaseList(cases=cases, label_values=values, ignored=ignored),
        problems=tuple(problems),
        unused_labels=unused,
        region_values=_region_values(described.get("labels"), values),
        modality=_modality(described),
    )


@contextmanager
def _expected_form(root: Path) -> Iterator[None]:
    """Turn every way in which JSON of another form fails into one message."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            expected='"labels" as names and values and "training" as a list of {"image", "label"}',
            found=f"{type(error).__name__}: {error}",
            where=root / _FILE,
            do="mend the file",
        ) from error


def _listed_cases(root: Path, listed: Any, problems: list[Problem]) -> tuple[Case, ...]:
    """Return the cases that "training" lists."""
    cases = []
    for row in listed if isinstance(listed, list) else []:
        with collected(problems), _expected_form(root):
            cases.append(_listed(root, row))
    return tuple(cases)


def _check_ending(root: Path, ending: Any) -> None:
    """Raise UserError where dataset.json says that files are of a format that is not read."""
    if ending not in SUFFIXES:
        raise UserError(
            expected=f"files ending in {', '.join(SUFFIXES)}",
            found=f'"file_ending": {ending!r}',
            where=root / _FILE,
            do="convert them to .nii.gz, and file_ending too",
        )


def _listed(root: Path, row: Mapping[str, str]) -> Case:
    """Return a listed case; nnU-Net v1 lists images without the _0000 that their files carry."""
    image = root / row["image"]
    name, ending = stem(image), image.name.removeprefix(stem(image))
    if image.is_file() or not image.with_name(f"{name}_0000{ending}").is_file():
        return Case(name=name, image=image, label=root / row["label"])
    first, *more = sorted(image.parent.glob(f"{name}_[0-9][0-9][0-9][0-9]{ending}"))
    return Case(name=name, image=first, more=tuple(more), label=root / row["label"])


def _label_values(labels: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    """Return label values by name, and the value to ignore.

    MSD and nnU-Net v1 write {"1": "liver"}, v2 {"liver": 1}, and {"whole": [1, 2]} for regions, which `target` makes.
    """
    values = {str(name): value for name, value in labels.items() if isinstance(value, int)}
    if not values:
        values = {str(name): int(value) for value, name in labels.items() if not isinstance(name, list)}
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


def _modality(described: Mapping[str, Any]) -> str:
    """Return "ct" or "other" by the names of the channels, "" where there are none."""
    channels = described.get("channel_names") or described.get("modality")
    words = [str(word).lower() for word in channels.values()] if isinstance(channels, dict) else []
    return "" if not words else "ct" if any("ct" in word.split() for word in words) else "other"


LAYOUT = Layout(
    description=f"a folder with {_FILE}, as MSD's and nnU-Net's", knows=lambda root: (root / _FILE).is_file(), read=read
)
