"""Slices prepared once on disk: in the model's frame and spacing, normalised, compressed, read one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import blosc2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from segfocal.data.label_scheme import LabelScheme
from segfocal.data.store.stored_components import LesionTable
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.foreign.schema import Schema, checked
from segfocal.intensity import Intensity
from segfocal.intensity_statistics import PERCENTILES
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

LOCATIONS = "locations.npz"
_COUNT = len(PERCENTILES)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that shapes a prepared slice; inference uses the same record, so both see a scan the same way.

    Args:
        grid: the frame and the pixels a model sees.
        intensity: from a scan's intensities to [0,1].
        structures: what is segmented, with the values they are read with, in the order of the target's channels.
        by_object: keep each mask of a picture by itself, overlaps and all, rather than the label map they add up to.
        crop: "none", or "body": store only the box that holds every pixel brighter than air, and every labelled one.
        components: number the lesions, and store beside the target which of them each voxel lies in.
    """

    grid: ModelGrid
    intensity: Intensity
    structures: tuple[Structure, ...]
    by_object: bool = False
    crop: str = "none"
    components: bool = False

    def __post_init__(self) -> None:
        if self.components and self.by_object:
            raise ValueError(
                "expected no loss and no sampling by lesion with target=objects, whose masks are objects already; "
                "got one: choose another loss and data.lesions=0, or name the structures"
            )
        if self.crop not in ("none", "body"):
            raise ValueError(f"expected data.crop to be none or body; got {self.crop!r}")


class CaseFacts(Schema):
    """case.json of a prepared case.

    Args:
        shape: slices, rows, columns.
        label_values: found in the case's label map.
        pixels: of each code of the target.
        offset: of the stored box within the scan, as the model sees it.
        channels: of the scan; of before one.
        percentiles: of each channel's values, as `segfocal.intensity_statistics` takes them; of before none.
        spacing_mm: of slices, rows and columns as stored; of before none.
    """

    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
    label_values: list[int]
    pixels: list[list[int]]
    offset: Annotated[list[int], Field(min_length=3, max_length=3)]
    channels: Annotated[int, Field(ge=1)] = 1
    percentiles: list[Annotated[list[float], Field(min_length=_COUNT, max_length=_COUNT)] | None] | None = None
    spacing_mm: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] | None = None


@dataclass(frozen=True)
class PreparedCase:
    """One case's slices on disk: images [d,h,w] or [d,c,h,w] float16 in [0,1], target codes [d,h,w] uint8.

    Of a picture prepared by object the target is [n,h,w], 1 inside each mask. scheme: what the codes mean.
    """

    name: str
    folder: Path
    scheme: LabelScheme

    @cached_property
    def _meta(self) -> dict:
        file = self.folder / "case.json"
        facts = read_json(file)
        checked(facts, CaseFacts, where=file, do="remove that folder: the case is then prepared again")
        return facts

    @cached_property
    def _kept_open(self) -> dict[str, blosc2.NDArray]:
        return {}

    def _array(self, name: str) -> blosc2.NDArray:
        """Open one of the arrays and keep it so, but of pictures: they come by the thousand, a megabyte each."""
        array = self._kept_open.get(name)
        if array is None:
            array = blosc2.open(str(self.folder / f"{name}.b2nd"), mode="r", dparams={"nthreads": 1})
            if self.shape[0] > 1:
                self._kept_open[name] = array
        return array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        d, h, w = self._meta["shape"]
        return d, h, w

    @property
    def channels(self) -> int:
        """Channels of the scan, neighbours not counted."""
        return self._meta.get("channels", 1)

    @property
    def label_values(self) -> list[int]:
        """The values found in the case's label map."""
        return self._meta["label_values"]

    @property
    def percentiles(self) -> list[list[float] | None] | None:
        """PERCENTILES of each channel's values as stored in its file, of one value None; None of a cache of before."""
        return self._meta.get("percentiles")

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels [k,d] of each structure in each slice, so that nothing counts them again.

        Of a picture prepared by object [1,1], those of a mask on average.
        """
        return np.array(self._meta["pixels"], dtype=np.int64)

    @property
    def offset(self) -> tuple[int, int, int]:
        """Slice, row and column of the model's grid at which the stored box begins: zeros unless cropped."""
        d, h, w = self._meta["offset"]
        return d, h, w

    @cached_property
    def locations(self) -> list[NDArray[np.int32]]:
        """Voxels [n,3] (slice, row, column) inside each structure, up to 1000 drawn alike: for patches around them.

        None of a picture prepared by object.
        """
        path = self.folder / LOCATIONS
        if not path.is_file():
            return []
        with np.load(path) as stored:
            return [stored[name] for name in stored.files]

    @cached_property
    def lesions(self) -> LesionTable:
        """The lesions of a case that was prepared with its components."""
        return LesionTable.read(self.folder)

    def components(self, start: int, stop: int) -> NDArray[np.unsignedinteger]:
        """Return the number of the lesion each voxel lies in, [k,n,h,w] of the slices start to stop; 0 outside all.

        Of a case that was prepared with its components.
        """
        return np.asarray(self._array("components")[start:stop]).swapaxes(0, 1)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring slices, rows and columns, of a case that was prepared with its components."""
        d, h, w = self._meta["spacing_mm"]
        return d, h, w

    def slice(self, index: int, *, neighbours: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return image [c,h,w] and target codes [h,w] of one slice.

        neighbours: slices on each side that are further channels, from the lowest to the highest; beyond the first and
        the last slice these are repeated.
        """
        return self._image(index, neighbours), np.asarray(self._array("target")[index])

    def block(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return image [c,n,h,w] and target codes [n,h,w] of the slices start to stop."""
        image = _full(self._array("image")[start:stop])
        image = image.reshape(len(image), -1, *self.shape[1:]).swapaxes(0, 1)
        return image, np.asarray(self._array("target")[start:stop])

    def masks(self, *, neighbours: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return image [c,h,w] and masks [n,h,w] of a picture prepared by object."""
        return self._image(0, neighbours), np.asarray(self._array("target")[:])

    def _image(self, index: int, neighbours: int) -> NDArray[np.float32]:
        stored = self._array("image")
        low, high = max(index - neighbours, 0), min(index + neighbours, self.shape[0] - 1)
        near = _full(stored[low : high + 1])
        if not neighbours:
            return near.reshape(-1, *self.shape[1:])
        seen = np.clip(np.arange(index - neighbours, index + neighbours + 1), low, high) - low
        return near[seen].reshape(-1, *self.shape[1:])

    def __getstate__(self) -> dict:
        """Leave open files behind when a data-loading process gets a copy."""
        return {"name": self.name, "folder": self.folder, "scheme": self.scheme}


def check_foreground(prepared: Iterable[PreparedCase], structures: Sequence[Structure], *, where: Path) -> None:
    """Raise UserError unless every structure has at least one pixel in some training case."""
    cases = list(prepared)
    if not cases:
        raise UserError(
            expected="at least one case to train on", found="none", where=where, do="give some the split train"
        )
    found = sorted({value for case in cases for value in case.label_values})
    pixels = sum((case.pixels.sum(1) for case in cases), np.zeros(len(structures), dtype=np.int64))
    for structure, count in zip(structures, pixels, strict=True):
        if count:
            continue
        if any(value & structure.value if structure.overlaps else value == structure.value for value in found):
            problem = "voxels too few to fill half a pixel at this spacing"
        else:
            problem = f"label values {found[:20]} only"
        values = " or ".join(map(str, structure.label_values))
        raise UserError(
            expected=f"{structure.name} (label value {values}) in the training set",
            found=problem,
            where=where,
            do="choose another target, or check the labels and data.label_names",
        )


def pixel_rates(prepared: Sequence[PreparedCase]) -> list[float]:
    """Return the share of all pixels that is background, then of each structure; the shares sum to one."""
    pixels = sum(case.pixels.sum(1) for case in prepared)
    rates = [float(count) / sum(math.prod(case.shape) for case in prepared) for count in np.atleast_1d(pixels)]
    return [max(1 - sum(rates), 0.0), *rates]  # overlapping structures count several times


def _full(half: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return float16 as float32, the same numbers; torch does it several times as fast as numpy."""
    return torch.from_numpy(half).float().numpy()
