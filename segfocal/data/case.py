"""What a case is: a scan or a picture with its label, and the part it plays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Mask:
    """One object of a picture: a mask file that is 0 outside of it, and the label value of its structure."""

    path: Path
    value: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan with its label, and the part it plays: train, val, test, or "" when nobody has said.

    image: its first channel, more: the others, in the order in which a network gets them. label: the label map, or where
    `masks` is not None the file that lists them; no mask at all is a label too. named: of a DICOM label, the value that
    each name is read as.
    """

    name: str
    image: Path
    label: Path
    split: str = ""
    masks: tuple[Mask, ...] | None = None
    more: tuple[Path, ...] = ()
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
    """Cases, with the label values by structure name where the source knows them."""

    cases: tuple[Case, ...]
    label_values: dict[str, int]

    def of(self, split: str) -> list[Case]:
        """Return the cases of one split."""
        return [case for case in self.cases if case.split == split]
