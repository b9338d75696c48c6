"""What a model says about one scan, held ready between clicks: prompts → answers of slices → label values.

The answers are those of `predict prompts=`: the same code makes them, keeps them and lays them on the scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.grid import Grid, Volume
from segfocal.inference.labelling import label_slab
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.answer_cache import Blends
from segfocal.inference.prompted.propagation import ready_for
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, SlicePrompt, Watch
from segfocal.inference.segment import cleaned, label_type, promptable, segment_with, write_labels
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sweep import Slab

_TOGETHER = 8  # slices laid on the scan at a time


class ScanAnswers:
    """A promptable model about one scan. Nothing of a prompt is remembered but the answers on disk.

    Args:
        predictor: of one bundle.
        scan: as it is stored; not kept.
        kept: a folder of answers and embeddings.
        options: what a slice hands on to the next one; reach_mm comes with each question.

    `slice_by_slice` says whether the model's slices are those of the scan.
    """

    @torch.no_grad()
    def __init__(self, predictor: Predictor, scan: Volume, *, kept: Path, options: PropagationOptions) -> None:
        self.bundle, self.grid, self.options, self.kept = predictor.bundle, scan.grid, options, kept
        image = ModelInput(scan, self.bundle.grid, self.bundle.intensity, neighbours=self.bundle.neighbours)
        self._spacing_mm = image.grid.spacing_mm
        self._turn = scan.grid.orientation_to(self.bundle.grid.frame)
        self._ready = ready_for(
            self._prompts((), 0.0, None), image.whole(), promptable(predictor), device=predictor.device
        )
        self.depth = image.grid.shape[0]
        self.slice_by_slice = self.depth == scan.grid.shape[self._turn.axes[0]]

    @torch.no_grad()
    def propagated(
        self, prompts: Sequence[SlicePrompt], reach_mm: float | None, watch: Watch | None = None
    ) -> list[Blends]:
        """Return, of each structure, what makes up the slices that prompts reach.

        Args:
            prompts: in the order in which they count.
            reach_mm: how far they are propagated; None: to the end.
            watch: is called with each slice that is asked anew, and may end it by raising.
        """
        return self._ready.propagated(self._prompts(prompts, reach_mm, watch))

    @torch.no_grad()
    def prompted(
        self, prompts: Sequence[SlicePrompt], k: int, reach_mm: float | None, watch: Watch | None = None
    ) -> Blends:
        """Return what makes up the prompted slices of the k-th structure; the arguments are those of `propagated`."""
        return self._ready.prompted(self._prompts(prompts, reach_mm, watch), k)

    def _prompts(
        self, prompts: Sequence[SlicePrompt], reach_mm: float | None, watch: Watch | None
    ) -> PropagatedPrompts:
        return PropagatedPrompts(
            prompts=prompts,
            structures=self.bundle.structures,
            spacing_mm=self._spacing_mm,
            session=self.kept / "answers",
            embeddings=self.kept / "embeddings",
            options=replace(self.options, reach_mm=reach_mm),
            watch=watch,
        )

    @torch.no_grad()
    def lay(self, blends: Sequence[Blends], labels: NDArray, slices: Iterable[int] | None = None) -> None:
        """Write label values on the scan's grid.

        Args:
            blends: of each structure.
            labels: of the scan's shape; written to.
            slices: of the model, where they are those of the scan (`slice_by_slice`); None for all.
        """
        if slices is None:
            labels[...] = 0
            slabs = self._slabs(blends, range(self.depth))
            write_labels(slabs, Volume(array=labels, grid=self.grid), self.bundle, depth=self.depth)
            return
        turned = self._turn.apply(labels)
        for slab in self._slabs(blends, sorted(slices)):
            turned[slab.start : slab.stop] = 0
            label_slab(slab, turned, self.bundle.structures)

    def _slabs(self, blends: Sequence[Blends], slices: Sequence[int]) -> Iterator[Slab]:
        start = stop = slices[0] if slices else 0
        for z in [*slices, -1]:
            if z != stop or stop - start == _TOGETHER:
                if stop > start:
                    yield Slab(start, stop, self._ready.logits(blends, start, stop))
                start = z
            stop = z + 1

    def cleaned(self, labels: NDArray) -> NDArray:
        """Return label values after the bundle's own rules for answers to prompts."""
        rules = self.bundle.rules(prompted=True)
        return cleaned(Volume(array=labels, grid=self.grid), self.bundle, rules).array if rules else labels

    def slices_of(self, voxels: NDArray[np.intp]) -> set[int]:
        """Return the model's slices in which voxels [n,3] of the scan lie."""
        own = np.unique(voxels[:, self._turn.axes[0]])
        return {int(z) for z in (self.depth - 1 - own if self._turn.flips[0] else own)}

    def part_of(self, z: int) -> tuple[slice, ...]:
        """Return the part of the scan's array that is a slice of the model."""
        own = self.depth - 1 - z if self._turn.flips[0] else z
        return tuple(slice(own, own + 1) if axis == self._turn.axes[0] else slice(None) for axis in range(3))


def slice_axis(grid: Grid, frame: str) -> int:
    """Return the array axis of a scan along which the slices of a model run."""
    return grid.orientation_to(frame).axes[0]


def without_prompt(predictor: Predictor, scan: Volume, watch: Watch | None = None) -> NDArray:
    """Return label values of a scan by windows that slide over it; `watch` is called with each part's first slice."""
    seen = None if watch is None else lambda start, _: watch(start)
    return segment_with(predictor, scan, watch=seen).array


def empty_labels(predictor: Predictor, grid: Grid) -> NDArray:
    """Return label values of a scan where nothing was found yet."""
    return np.zeros(grid.shape, dtype=label_type(predictor.bundle.structures), order="F")
