"""The mask of a session: what a model answers to the prompts that stand, with the strokes of a brush over it.

It is brought up to date slice by slice: answers have names, and a slice is made anew where its names are others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.answer_cache import Blends
from segfocal.inference.prompted.prompt_entries import MOST_ENTRIES, MOST_ON_A_SLICE
from segfocal.inference.prompted.prompt_file import read_new_prompts
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import SlicePrompt, Watch
from segfocal.io import volumes
from segfocal.models import PromptableModel
from segfocal.serve.answers import ScanAnswers, empty_labels
from segfocal.serve.brush import paint, painted
from segfocal.serve.history import Asking, Masked, Standing, Stroke
from segfocal.serve.refusal import Refused

Box = tuple[tuple[int, int, int], tuple[int, int, int]]  # the first voxel, and one past the last
_Part = tuple[slice, ...]


def takes_prompts(predictor: Predictor) -> bool:
    """Return whether the model answers prompts."""
    return isinstance(predictor.bundle.model, PromptableModel)


def answers_volumes(bundle: Bundle) -> bool:
    """Return whether an answer to a prompt is of the whole scan."""
    return isinstance(bundle.model, PromptableModel) and bundle.model.of_volumes


class SessionMask:
    """Label values of a scan.

    Args:
        predictor: of one bundle.
        scan: as it is stored; not kept.
        folder: of the session: masks that prompts name lie in it, answers are kept there.
        options: what a slice hands on to the next one.
    """

    def __init__(self, predictor: Predictor, scan: Volume, *, folder: Path, options: PropagationOptions) -> None:
        self.folder, self.grid, self.bundle = folder, scan.grid, predictor.bundle
        self._labels = empty_labels(predictor, scan.grid)
        self._answers = ScanAnswers(predictor, scan, kept=folder, options=options) if takes_prompts(predictor) else None
        alone = self._answers is not None and self._answers.slice_by_slice
        self._whole_again = not alone or bool(self.bundle.rules(prompted=True))
        self._lock = Lock()
        self._blends: list[Blends] = [{} for _ in self.bundle.structures]
        self._standing = Standing()
        self._parsed: dict[Any, list[SlicePrompt]] = {}
        self._carried: dict[Any, list[Blends]] = {}
        self._painted: dict[int, NDArray[np.intp]] = {}

    def check(self, standing: Standing) -> None:
        """Raise UserError for prompts that the model cannot be asked, or that `predict prompts=` would not read."""
        if self._answers is None:
            if standing.reach_mm != 0 or any(not isinstance(one, Masked) for one in standing.asking):
                raise Refused(
                    422,
                    expected="a bundle of a promptable model for prompts",
                    found=type(self.bundle.model).__name__,
                    do="predict the whole scan and correct it with the brush, or serve a promptable model",
                )
            return
        entries = sum(len(one.entries) for one in standing.asking)
        if entries > MOST_ENTRIES:
            raise Refused(422, expected=f"at most {MOST_ENTRIES:,} prompts", found=f"{entries:,}", do="undo some")
        prompts = self._prompts(standing.asking)
        counts = Counter((prompt.structure, prompt.slice) for prompt in prompts)
        most = max(counts.values(), default=0)
        if most > MOST_ON_A_SLICE:
            expected = f"at most {MOST_ON_A_SLICE:,} prompts of a structure on a slice"
            raise Refused(422, expected=expected, found=f"{most:,}", do="undo some")

    def update(self, standing: Standing, watch: Watch | None = None) -> Box | None:
        """Make it the mask of what stands; return the box of voxels that changed.

        Args:
            standing: what stands now.
            watch: is called with each slice that is asked anew, and may end it by raising: then nothing changed.
        """
        standing = standing.of_volumes() if answers_volumes(self.bundle) else standing
        blends = self._blends_of(standing, watch)
        strokes = _difference(self._standing.strokes, standing.strokes)
        if self._whole_again:
            parts: list[_Part] = [(slice(None),) * 3] if standing != self._standing else []
            slices: Collection[int] = range(0)
        else:
            assert self._answers is not None
            slices = _changed(self._blends, blends) | self._slices_of(strokes)
            parts = [self._answers.part_of(z) for z in sorted(slices)]
        before = [self._labels[part].copy() for part in parts]
        with self._lock:
            self._fill(standing, blends, slices)
            self._blends, self._standing = blends, standing
        return _box(self._labels, parts, before)

    def part(self, box: Box | None = None) -> NDArray:
        """Return a copy of the label values in a box, or of all."""
        with self._lock:
            return self._labels[() if box is None else tuple(map(slice, *box))].copy(order="F")

    def _fill(self, standing: Standing, blends: list[Blends], slices: Collection[int]) -> None:
        """Write answers to slices, or to all where they cannot be taken alone, and all strokes over them."""
        if self._answers is None:
            self._fill_with_masks(standing.asking)
        elif self._whole_again:
            self._answers.lay(blends, self._labels)
            self._labels[...] = self._answers.cleaned(self._labels)
        elif slices:
            self._answers.lay(blends, self._labels, slices)
        for stroke in standing.strokes:
            paint(self._labels, self._voxels(stroke), stroke, self.bundle.structures)

    def _fill_with_masks(self, asking: Iterable[Asking]) -> None:
        """Write masks as they are, for a model that no prompt reaches."""
        self._labels[...] = 0
        values = {one.name: one for one in self.bundle.structures}
        for action in asking:
            for entry in action.entries:
                stored = volumes.read_labels(self.folder / entry["mask"]).array
                own = values[entry["structure"]]
                inside = stored == entry["value"]
                self._labels[inside] = self._labels[inside] | own.value if own.overlaps else own.value

    def _blends_of(self, standing: Standing, watch: Watch | None) -> list[Blends]:
        """Return what makes up each slice: of the prompts since the last carry the prompted ones, else as carried."""
        if self._answers is None:
            return self._blends
        key = (tuple(map(_key, standing.whole)), standing.reach_mm)
        if key not in self._carried:
            whole = self._prompts(standing.whole)
            self._carried[key] = self._answers.propagated(whole, standing.reach_mm, watch) if whole else []
        blends = [dict(one) for one in self._carried[key] or [{} for _ in self.bundle.structures]]
        touched: dict[int, set[int]] = {}
        for prompt in self._prompts(standing.since):
            touched.setdefault(prompt.structure, set()).add(prompt.slice)
        prompts = self._prompts(standing.asking)
        for k, slices in touched.items():
            found = self._answers.prompted(prompts, k, standing.reach_mm, watch)
            for z in slices:
                blends[k].pop(z, None)
                if z in found:
                    blends[k][z] = found[z]
        return blends

    def _prompts(self, asking: Iterable[Asking]) -> list[SlicePrompt]:
        prompts: list[SlicePrompt] = []
        for action in asking:
            key = _key(action)
            if key not in self._parsed:
                file, target = self.folder / "prompts.json", self.bundle.grid
                self._parsed[key] = read_new_prompts(action.entries, file, self.grid, self.bundle.structures, target)
            prompts += self._parsed[key]
        return prompts

    def _voxels(self, stroke: Stroke) -> NDArray[np.intp]:
        if stroke.serial not in self._painted:
            self._painted[stroke.serial] = painted(stroke, self.grid)
        return self._painted[stroke.serial]

    def _slices_of(self, strokes: Iterable[Stroke]) -> set[int]:
        """Return the model's slices in which strokes have voxels."""
        assert self._answers is not None
        return {z for stroke in strokes for z in self._answers.slices_of(self._voxels(stroke))}


def _key(action: Asking) -> tuple[Any, ...]:
    return action.serial, tuple(entry["structure"] for entry in action.entries) if action.structure is None else ()


def _difference(before: Sequence[Stroke], after: Sequence[Stroke]) -> list[Stroke]:
    """Return the strokes that are in one of two lists alone."""
    serials = {one.serial for one in before} ^ {one.serial for one in after}
    return [one for one in (*before, *after) if one.serial in serials]


def _changed(before: Sequence[Blends], after: Sequence[Blends]) -> set[int]:
    return {
        z
        for one, other in zip(before, after, strict=True)
        for z in one.keys() | other.keys()
        if one.get(z) != other.get(z)
    }


def _box(labels: NDArray, parts: Sequence[_Part], before: Sequence[NDArray]) -> Box | None:
    """Return the box of the voxels that are not as before in some parts."""
    boxes = []
    for part, old in zip(parts, before, strict=True):
        differs = labels[part] != old
        if differs.any():
            lines = [np.flatnonzero(differs.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
            start = [side.start or 0 for side in part]
            boxes.append([(at + line[0], at + line[-1] + 1) for at, line in zip(start, lines, strict=True)])
    return joined([(tuple(int(a) for a, _ in box), tuple(int(b) for _, b in box)) for box in boxes])


def joined(boxes: Sequence[Any]) -> Box | None:
    """Return the box around boxes; None of none."""
    if not boxes:
        return None
    lower = tuple(min(box[0][axis] for box in boxes) for axis in range(3))
    upper = tuple(max(box[1][axis] for box in boxes) for axis in range(3))
    return lower, upper
