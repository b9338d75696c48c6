"""The cases of evaluations, to be looked at: their order, their scans, and both masks in numbers of the page."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError, noted
from segfocal.evaluate.case_masks import read_masks
from segfocal.evaluate.evaluated import Evaluated, EvaluatedCase, worst_first
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import match, named_files
from segfocal.grid import Grid
from segfocal.io import volumes
from segfocal.serve.refusal import Refused

_OPEN = 4  # cases in memory
MOST_STRUCTURES = 250  # that a page tells apart


@dataclass(frozen=True, kw_only=True)
class ViewedCase:
    """A case in the list.

    Args:
        id: by which requests name it: the same for the same case of the same evaluation.
        name: for people; with its evaluation's where there are several.
        case: what was judged.
        settings: by which its masks are read.
    """

    id: str
    name: str
    case: EvaluatedCase
    settings: EvaluationSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedCase:
    """A case with its voxels; masks hold numbers of structures, from 1.

    Args:
        image: the scan; None where nobody knows it.
        grid: of all three.
        prediction: uint8, of the grid's shape.
        reference: the same.
    """

    image: Path | None
    grid: Grid
    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]

    @property
    def slice_axis(self) -> int:
        """The axis along which slices are walked through: that from the feet to the head."""
        return self.grid.orientation_to("SPL").axes[0]


class ViewedCases:
    """Cases of one or more evaluations, the worst first.

    Args:
        evaluations: at least one.
        images: scans of cases whose evaluation knows none: a folder, a pattern or a file; None for none.

    Raises:
        UserError: no case at all, or scans of which none fits.
    """

    def __init__(self, evaluations: Sequence[Evaluated], images: Path | None) -> None:
        names = [name for one in evaluations for name in one.structures]
        self.structures = tuple(dict.fromkeys(names))[:MOST_STRUCTURES]
        several = len(evaluations) > 1
        found = [
            _listed(one, case, prefix=one.folder.name if several else "") for one in evaluations for case in one.cases
        ]
        if not found:
            raise UserError(
                expected="an evaluation of at least one case",
                found="none",
                where=evaluations[0].folder,
                do="evaluate masks with their references",
            )
        found.sort(key=lambda each: worst_first(each.case))
        if images is not None:
            found = _with_images(found, images)
        self._cases = {each.id: each for each in found}
        self._opened: OrderedDict[str, OpenedCase] = OrderedDict()
        self._lock = Lock()

    def all(self) -> list[ViewedCase]:
        """Return them, the worst first."""
        return list(self._cases.values())

    def find(self, case: str) -> ViewedCase:
        """Return a case by its id; Refused where there is none."""
        if case not in self._cases:
            raise Refused(404, expected="the id of a case", found=repr(case)[:60], do="see the list of cases")
        return self._cases[case]

    def open(self, case: str) -> OpenedCase:
        """Return a case with its voxels; a few are kept in memory.

        Raises:
            Refused: no case of that id.
            UserError: a file that is gone, cannot be read, or lies elsewhere than the others.
        """
        viewed = self.find(case)
        with self._lock:
            if case not in self._opened:
                self._opened[case] = _read(viewed, self.structures)
            self._opened.move_to_end(case)
            while len(self._opened) > _OPEN:
                self._opened.popitem(last=False)
            return self._opened[case]


def _listed(evaluated: Evaluated, case: EvaluatedCase, *, prefix: str) -> ViewedCase:
    text = f"{evaluated.folder.absolute()}\n{case.files.name}"
    own = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    name = f"{prefix}: {case.files.name}" if prefix else case.files.name
    return ViewedCase(id=own, name=name, case=case, settings=evaluated.settings)


def _with_images(cases: Sequence[ViewedCase], images: Path) -> list[ViewedCase]:
    """Return cases with the scans that are named like them."""
    files = named_files(images, what="scans")
    names = list(dict.fromkeys(each.case.files.name for each in cases))
    found = match(names, list(files), what="scan", several=True)
    if not found:
        raise UserError(
            expected="scans named like the cases",
            found=f"{', '.join(sorted(files)[:3])} beside {', '.join(names[:3])}",
            where=images,
            do="give them the same names, or one prefix or suffix each",
        )
    return [_with_image(each, files, found) for each in cases]


def _with_image(viewed: ViewedCase, files: Mapping[str, Path], found: Mapping[str, str]) -> ViewedCase:
    own = found.get(viewed.case.files.name)
    if own is None:
        return viewed
    return replace(viewed, case=replace(viewed.case, files=replace(viewed.case.files, image=files[own])))


def _read(viewed: ViewedCase, structures: Sequence[str]) -> OpenedCase:
    files, settings = viewed.case.files, viewed.settings
    with noted():  # which the table of the evaluation has
        masks = read_masks(files, settings, compared=False)
        image = files.image if files.image is not None and os.path.exists(files.image) else None
        grid = masks.reference.grid if image is None else volumes.read_grid(image)
        reference = volumes.laid(masks.reference, grid, files.reference, expected="a reference on its scan's grid")
        numbers = {value: structures.index(name) + 1 for name, value in masks.labels.items() if name in structures}
        given = masks.predictions[0]
        predicted = None if given is None else volumes.laid(given, grid, files.prediction or files.reference)
    return OpenedCase(
        image=image,
        grid=grid,
        reference=_numbered(reference.array, numbers),
        prediction=np.zeros(grid.shape, np.uint8, order="F")
        if predicted is None
        else _numbered(predicted.array, numbers),
    )


def _numbered(labels: NDArray, numbers: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return label values as numbers of structures; 0 for all others."""
    table = np.zeros(max(numbers, default=0) + 2, np.uint8)
    for value, number in numbers.items():
        table[value] = number
    return np.asfortranarray(table[np.clip(labels, 0, len(table) - 1)])
