"""Training batches: which slice or patch each sample is, read and cut from the prepared cases.

Sample `index` of step `step` is a function of (seed, step, index) alone, and with data.replay of the odds that this
step draws slices by: the number of loading processes, the number of training processes and a resume in the middle
change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segfocal.batch import SAMPLING, Batch, Origin, SampleKey
from segfocal.component_cells import nearest_component
from segfocal.data.label_scheme import IGNORED
from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.data.sampling.lesion_sampler import LesionSampler
from segfocal.data.sampling.slice_sampler import DrawnSlice, SliceSampler
from segfocal.data.sampling.workers import (
    awaiting_what_torch_says,
    ending_workers_at_once,
    keep_serving,
    naming_lost_workers,
)
from segfocal.data.store.prepared_case import PreparedCase
from segfocal.data.store.stored_components import renumbered


class TrainingSample(NamedTuple):
    """One training sample.

    Args:
        image: [c,*crop] in [0,1].
        target: [k,*crop], 1 inside each structure, 255 where ignored.
        key: by which it draws its random numbers.
        origin: where it was cut from.
        cells: [k,*crop], the number of the lesion of the sample nearest to each pixel, 0 for none; None unless sampled.
    """

    image: Tensor
    target: Tensor
    key: SampleKey
    origin: Origin
    cells: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How training samples are drawn and cut.

    Args:
        foreground: share of samples drawn from slices that hold a target and cut around one of its pixels; the others
            are uniform over all slices.
        crop: pixels (h, w) of a sample, or voxels (d, h, w): a patch that the drawn slice lies anywhere in.
        objects: masks a sample, of pictures prepared by object; None for a channel a structure.
        neighbours: slices on each side of a sample's that are further channels.
        rare: of foreground samples, power in [0,10] by which rare structures are preferred; 0 for all alike.
        replay: share of samples drawn by the last loss of their slice.
        replay_every: steps between renewals of those odds: with loading processes each renewal starts them anew.
        lesions: share of samples in [0,1] that are cut around a lesion, each drawn with the same chance.
        lesion_edges: mm > 0, ascending: between classes of the diameter of a ball of a lesion's volume. A class is
            drawn first then, of those that hold a lesion, all alike.
        cells: whether samples have the numbers of the nearest lesions, for a loss that asks for them.
    """

    foreground: float
    crop: tuple[int, ...]
    objects: int | None = None
    neighbours: int = 0
    rare: float = 0.0
    replay: float = 0.0
    replay_every: int = 25
    lesions: float = 0.0
    lesion_edges: tuple[float, ...] = ()
    cells: bool = False

    def __post_init__(self) -> None:
        objects, every, plain = self.objects, self.replay_every, not self.neighbours or len(self.crop) == 2
        _check(0 <= self.foreground <= 1, "data.foreground in [0,1]", self.foreground)
        _check(objects is None or _is_whole(objects, least=1), "data.objects to be a whole number ≥ 1", objects)
        check_neighbours(self.neighbours)
        _check(plain, "data.neighbours=0 for a data.window of three numbers", self.neighbours)
        _check(0 <= self.rare <= 10, "data.rare in [0,10]", self.rare)
        _check(0 <= self.replay <= 1, "data.replay in [0,1]", self.replay)
        _check(0 <= self.lesions <= 1, "data.lesions in [0,1]", self.lesions)
        edges = self.lesion_edges
        ascending = all(low < high for low, high in pairwise((0.0, *edges)))
        _check(ascending, "data.lesion_edges to be ascending numbers of mm > 0", list(edges))
        _check(_is_whole(every, least=1), "data.replay_every to be a whole number ≥ 1", every)


def check_neighbours(count: object) -> None:
    """Raise ValueError unless `count` slices on each side can be channels."""
    _check(type(count) is int and _is_whole(count, least=0), "data.neighbours to be a whole number ≥ 0", repr(count))


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and value >= least


def _check(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"expected {expected}; got {found}")


class SliceDataset(Dataset[TrainingSample]):
    """Prepared slices, addressed by SampleKey and drawn by a SliceSampler."""

    def __init__(self, cases: Sequence[PreparedCase], classes: int, sampling: Sampling) -> None:
        self.cases, self.classes, self.sampling = list(cases), classes, sampling
        share, edges = sampling.lesions, sampling.lesion_edges
        self.sampler = SliceSampler(
            self.cases,
            classes,
            foreground=sampling.foreground,
            rare=sampling.rare,
            replay=sampling.replay,
            lesions=LesionSampler(self.cases, edges, share=share) if share else None,
        )

    @property
    def losses(self) -> LastLosses | None:
        """The last losses by slice that samples are drawn by; None where none are."""
        return self.sampler.losses

    def __getitem__(self, key: SampleKey) -> TrainingSample:
        rng = key.rng(SAMPLING)
        drawn = self.sampler.draw(rng)
        case, crop = drawn.case, self.sampling.crop
        image, codes, start = self._read(case, drawn.slice_index, rng)
        seen = codes if start is None else codes[drawn.slice_index - start]
        inside = np.argwhere(_wanted(drawn, seen))
        centre = rng.choice(inside) if len(inside) else rng.random(2) * seen.shape
        middle = centre if start is None else [len(codes) / 2, *centre]
        image, codes = (cut(array, middle, crop) for array in (image, codes))
        cells = self._cells(case, drawn.slice_index, start, middle) if self.sampling.cells else None
        target = torch.from_numpy(case.scheme.target(codes))
        return TrainingSample(torch.from_numpy(image), target, key, Origin(case.name, drawn.slice_index), cells)

    def _read(
        self, case: PreparedCase, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], int | None]:
        """Return a slice, or of a patch its slices and the first of them."""
        if len(self.sampling.crop) == 2:
            return *case.slice(index, neighbours=self.sampling.neighbours), None
        depth, full = self.sampling.crop[0], case.shape[0]
        start = min(max(index - int(rng.integers(depth)), 0), max(full - depth, 0))
        return *case.block(start, min(start + depth, full)), start

    def _cells(self, case: PreparedCase, index: int, start: int | None, middle: Sequence[float] | NDArray) -> Tensor:
        """Return the cells of the lesions that a sample holds, numbered anew; a slice's are in its plane."""
        if start is None:
            numbers = case.components(index, index + 1)[:, 0]
        else:
            numbers = case.components(start, min(start + self.sampling.crop[0], case.shape[0]))
        held = cut(numbers, middle, self.sampling.crop)
        spacing_mm = case.spacing_mm[-len(self.sampling.crop) :]
        return torch.from_numpy(renumbered(np.stack([nearest_component(one, spacing_mm) for one in held])))


def _wanted(drawn: DrawnSlice, codes: NDArray) -> NDArray[np.bool_]:
    """Return which pixels of the drawn slice, of these codes, a sample may be centred on."""
    if drawn.structure is None:
        return np.zeros(codes.shape, bool)
    inside = drawn.case.scheme.inside(codes, drawn.structure)
    if drawn.lesion is None:
        return inside
    return drawn.case.components(drawn.slice_index, drawn.slice_index + 1)[drawn.structure, 0] == drawn.lesion


def cut(array: NDArray, centre: Sequence[float] | NDArray, size: tuple[int, ...]) -> NDArray:
    """Return the piece [...,*size] around `centre`, moved to lie inside; a smaller array gets 0 all around."""
    others = array.ndim - len(size)
    taken, padding = [slice(None)] * others, [(0, 0)] * others
    for middle, length, full in zip(centre, size, array.shape[others:], strict=True):
        start = int(np.clip(round(float(middle) - length / 2), 0, max(full - length, 0)))
        taken.append(slice(start, start + length))
        missing = max(length - full, 0)
        padding.append((missing // 2, missing - missing // 2))
    piece = array[tuple(taken)]
    return np.ascontiguousarray(np.pad(piece, padding) if np.any(padding) else piece)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A batch sampler: the sample keys of each forward pass of a run, this process's share of them.

    Which samples a step has does not depend on how they are shared out.

    Args:
        seed: of the run.
        first: step.
        last: the step after the last one.
        batch_size: samples a step, over all processes and forward passes.
        accumulate: forward passes a step.
        cycle: repeat the first so many steps over and over; None for new samples in every step.
        rank: of this process.
        world: processes in all.
    """

    seed: int
    first: int
    last: int
    batch_size: int
    accumulate: int = 1
    cycle: int | None = None
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        split = f"{self.world} processes × {self.accumulate} forward passes"
        whole = self.batch_size % (self.world * self.accumulate) == 0
        _check(whole, f"train.batch_size to be a multiple of {split}", self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        share = self.batch_size // (self.world * self.accumulate)
        for step in range(self.first, self.last):
            for forward in range(self.accumulate):
                start = (forward * self.world + self.rank) * share
                drawn = step % self.cycle if self.cycle else step
                yield [SampleKey(self.seed, drawn, sample) for sample in range(start, start + share)]

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulate


def collate(samples: list[TrainingSample]) -> Batch:
    """Stack samples into a batch; pixels where a target says IGNORED are listed in `ignored` and in no target."""
    images, targets, keys, origins, cells = zip(*[TrainingSample(*one) for one in samples], strict=True)
    target = torch.stack(targets)
    ignored = (target[:, :1] == IGNORED) if (target == IGNORED).any() else None
    target = target if ignored is None else target.masked_fill(ignored, 0)
    return Batch(
        image=torch.stack(images),
        target=target,
        keys=keys,
        origins=origins,
        ignored=ignored,
        cells=None if cells[0] is None else torch.stack(cells),
    )


def load(
    dataset: SliceDataset, steps: Steps, *, workers: int, pin: bool, timeout: float | None = None
) -> Iterator[Batch]:
    """Yield one batch a forward pass, from `workers` processes that live until the last of `steps`.

    Args:
        dataset: the samples.
        steps: their keys, a list a forward pass.
        workers: loading processes; 0 loads in this one.
        pin: load into page-locked memory, from which a GPU copies beside its computation.
        timeout: seconds without a batch after which the processes count as hung; None waits for ever.

    Raises:
        UserError: a loading process died, or all of them hang.
    """
    with ending_workers_at_once(), naming_lost_workers(workers, timeout=timeout), awaiting_what_torch_says():
        yield from DataLoader(
            dataset,
            batch_sampler=steps,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            worker_init_fn=keep_serving,
            prefetch_factor=4 if workers else None,
            timeout=timeout or 0 if workers else 0,
        )
