"""What a case is: a scan or a picture with its label, and the part it plays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.io.nifti import smallest_integer_type

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Mask:
    """One object of a picture: a mask file that is 0 outside of it, and the label value of its structure."""

    path: Path
    value: int


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the values of a case's label stand for when it is read.

    changed: pairs of a value on disk and what is read in its place; all others are background. None for every value as
    it is. ignored: the value read that counts for nothing. overlapping: values read are sums of 1, 2, 4, …, and where
    masks overlap all of them count.
    """

    changed: tuple[tuple[int, int], ...] | None = None
    ignored: int | None = None
    overlapping: bool = False

    def read(self, labels: NDArray) -> NDArray:
        """Return a label map of values on disk as values read."""
        if self.changed is None:
            return labels
        new = np.array([0, *(value for _, value in self.changed)])
        out = np.zeros(labels.shape, dtype=smallest_integer_type(new))
        for value, instead in self.changed:
            out[labels == value] = instead
        return out


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan with its label, and the part it plays: train, val, test, or "" when nobody has said.

    image: its first channel, more: the others, in the order in which a network gets them. label: the label map, or
    where `masks` is not None the file or folder that lists them; no mask at all is a label too. group: what is never
    split, such as a patient; "" for the case alone. meaning: what its label values stand for. named: of a DICOM label,
    the value that each name is read as.
    """

    name: str
    image: Path
    label: Path
    split: str = ""
    masks: tuple[Mask, ...] | None = None
    more: tuple[Path, ...] = ()
    group: str = ""
    meaning: Meaning = Meaning()
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
    """Cases, with the label values by structure name where the source knows them.

    ignored: the label value of voxels that count for nothing.
    """

    cases: tuple[Case, ...]
    label_values: dict[str, int]
    ignored: int | None = None

    def of(self, split: str) -> list[Case]:
        """Return the cases of one split."""
        return [case for case in self.cases if case.split == split]
