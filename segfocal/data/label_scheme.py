"""What the values of a label mean on their way from the file to the loss.

on disk    the data set's label values: 5 liver, 2 and 3 kidneys, 9 neither trained on nor judged
read       the structures' own values; with unions among them 1, 2, …, where they may overlap the bits 1, 2, 4, …
prepared   codes: 1, 2, … in the order of the structures, or those bits; the next one means ignored
target     [k,…]: in channel k 1 inside the structure, 0 outside, 255 where ignored
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume
from segfocal.io.nifti import smallest_integer_type
from segfocal.structure import Structure

if TYPE_CHECKING:
    from segfocal.resample import ModelGrid  # loads torch, and who lists cases needs none

OBJECTS = "objects"  # the target that means every mask, whatever its structure
INSIDE = 255  # the value of the only structure of a label made of PNG masks: that of the masks themselves
IGNORED = 255  # in a target of 0 and 1
_FEW = 8  # structures: up to so many are counted faster one by one than by bincount, which casts


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The structures that a label holds, and their values in each of its forms.

    structures: in the order of the target's channels; () as long as no target is chosen. ignored: the value on disk of
    voxels that are neither trained on nor judged; None where all are.
    """

    structures: tuple[Structure, ...] = ()
    ignored: int | None = None

    @cached_property
    def overlapping(self) -> bool:
        """Whether a voxel may lie in several structures: values read and codes are then sums of bits."""
        return any(structure.overlaps for structure in self.structures)

    @cached_property
    def values_read(self) -> dict[int, int] | None:
        """The value read for each value on disk, 0 for others; None where labels are read as they are."""
        if not any(structure.of for structure in self.structures):
            return None
        read: dict[int, int] = {}
        for structure in self.structures:
            for value in structure.label_values:
                read[value] = read.get(value, 0) | structure.value
        return read if self.ignored is None else read | {self.ignored: self.code(len(self.structures))}

    def value_read(self, value: int) -> int:
        """Return what a value on disk is read as."""
        return value if self.values_read is None else self.values_read.get(value, 0)

    @property
    def ignored_read(self) -> int | None:
        """The value read of voxels that are ignored."""
        return None if self.ignored is None else self.value_read(self.ignored)

    def read(self, labels: NDArray) -> NDArray:
        """Return a label map of values on disk as values read."""
        if self.values_read is None:
            return labels
        out = np.zeros(labels.shape, dtype=smallest_integer_type(np.array([0, *self.values_read.values()])))
        for value, read in self.values_read.items():
            out[labels == value] = read
        return out

    def holds(self, array: NDArray, value: int) -> NDArray[np.bool_]:
        """Return where an array of values read, or of codes, holds one of them."""
        return (array & array.dtype.type(value)) != 0 if self.overlapping else array == value

    def code(self, structure: int) -> int:
        """Return the code of a structure; of one after the last, that of ignored pixels."""
        return 1 << structure if self.overlapping else structure + 1

    def encoded(self, labels: Volume, grid: ModelGrid) -> NDArray[np.unsignedinteger]:
        """Return a label map of values read as codes [d,h,w] on the model's grid.

        Where pixels hold several voxels the structure with the largest share has it, overlapping ones each from half.
        """
        values = [structure.value for structure in self.structures]
        values += [] if self.ignored_read is None else [self.ignored_read]
        if not self.overlapping:
            return grid.labels(labels, values).array
        codes = np.zeros(grid.of(labels.grid).shape, dtype=np.uint8 if len(values) <= 8 else np.uint16)
        for value in values:  # which are the codes
            part = Volume(array=self.holds(labels.array, value), grid=labels.grid)
            codes[grid.labels(part, [1]).array != 0] |= codes.dtype.type(value)
        if self.ignored is not None:
            codes[self.ignored_codes(codes)] = self.code(len(self.structures))
        return codes

    def inside(self, codes: NDArray, structure: int) -> NDArray[np.bool_]:
        """Return where codes lie in a structure."""
        return self.holds(codes, self.code(structure))

    def ignored_codes(self, codes: NDArray) -> NDArray[np.bool_]:
        """Return which codes are ignored."""
        return np.zeros(codes.shape, bool) if self.ignored is None else self.inside(codes, len(self.structures))

    def target(self, codes: NDArray) -> NDArray[np.uint8]:
        """Return codes [...] as a target [k, ...]: 1 inside each structure, 255 in every channel where ignored."""
        own = np.array([self.code(k) for k in range(len(self.structures))], dtype=codes.dtype)
        own = own.reshape(-1, *[1] * codes.ndim)
        target = ((codes & own) != 0 if self.overlapping else codes == own).astype(np.uint8)
        if self.ignored is not None:
            target[:, self.ignored_codes(codes)] = IGNORED
        return target

    def counts(self, codes: NDArray) -> NDArray[np.int64]:
        """Return how many codes lie in each structure."""
        count = len(self.structures)
        if self.overlapping or count <= _FEW:
            return np.array([np.count_nonzero(self.inside(codes, k)) for k in range(count)], dtype=np.int64)
        return np.bincount(codes.ravel(), minlength=count + 1)[1 : count + 1]

    def signed(self) -> dict[str, Any]:
        """Return what belongs to the signature of prepared slices; nothing for labels that are read as they are."""
        if self.values_read is None and self.ignored is None:
            return {}
        changed = None if self.values_read is None else list(self.values_read.items())
        return {"meaning": {"changed": changed, "ignored": self.ignored_read, "overlapping": self.overlapping}}
