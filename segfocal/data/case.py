"""What a case is: a scan or a picture with its label, and the part it plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from segfocal.data.label_scheme import LabelScheme
from segfocal.io.passed_over import PassedOver

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Mask:
    """One object of a picture: a mask file that is 0 outside of it, and the label value of its structure."""

    path: Path
    value: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan with its label, and the part it plays.

    Args:
        name: fit for a file name; unique among cases.
        image: the file of its first channel.
        label: the label map, or where `masks` is not None the file or folder that lists them.
        split: train, val, test, or "" while nobody has said.
        masks: mask files that make up the label; none at all is a label too. None for a label map.
        more: the files of further channels, in the order in which a network gets them.
        channels: what the layout calls each channel (0000, t1); () where it does not say, and of a list.
        group: what is never split, such as a patient; "" for the case alone.
        scheme: what its label values mean, once a target is chosen.
        named: of a DICOM label, the value that each name is read as.
    """

    name: str
    image: Path
    label: Path
    split: str = ""
    masks: tuple[Mask, ...] | None = None
    more: tuple[Path, ...] = ()
    channels: tuple[str, ...] = ()
    group: str = ""
    scheme: LabelScheme = field(default_factory=LabelScheme)
    named: tuple[tuple[str, int], ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """The file of each channel."""
        return (self.image, *self.more)

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The files whose pixels are the label."""
        return (self.label,) if self.masks is None else tuple(mask.path for mask in self.masks)


@dataclass(frozen=True, kw_only=True)
class CaseList:
    """What a data set holds.

    Args:
        cases: what was read.
        label_values: label values by structure name, where the layout knows them.
        ignored: the label value of voxels that count for nothing; None without one.
        passed_over: what lies there and was not read, with the reasons.
    """

    cases: tuple[Case, ...]
    label_values: dict[str, int]
    ignored: int | None = None
    passed_over: tuple[PassedOver, ...] = ()

    def of(self, split: str) -> list[Case]:
        """Return the cases of one split."""
        return [case for case in self.cases if case.split == split]
