"""Training batches: which slice or patch each sample is, read and cut from the prepared cases.

Sample `index` of step `step` is a function of (seed, step, index) alone, and with data.replay of the odds that this
step draws slices by: the number of loading processes, the number of training processes and a resume in the middle
change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segfocal.batch import SAMPLING, Batch, Origin, SampleKey
from segfocal.data.label_scheme import IGNORED
from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.data.sampling.slice_sampler import SliceSampler
from segfocal.data.sampling.workers import (
    awaiting_what_torch_says,
    ending_workers_at_once,
    keep_serving,
    naming_lost_workers,
)
from segfocal.data.store.prepared_case import PreparedCase

Sample = tuple[Tensor, Tensor, SampleKey, Origin]  # image, target, its random numbers, where it was cut from


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
    """

    foreground: float
    crop: tuple[int, ...]
    objects: int | None = None
    neighbours: int = 0
    rare: float = 0.0
    replay: float = 0.0
    replay_every: int = 25

    def __post_init__(self) -> None:
        objects, every, plain = self.objects, self.replay_every, not self.neighbours or len(self.crop) == 2
        _check(0 <= self.foreground <= 1, "data.foreground in [0,1]", self.foreground)
        _check(objects is None or _is_whole(objects, least=1), "data.objects to be a whole number ≥ 1", objects)
        check_neighbours(self.neighbours)
        _check(plain, "data.neighbours=0 for a data.window of three numbers", self.neighbours)
        _check(0 <= self.rare <= 10, "data.rare in [0,10]", self.rare)
        _check(0 <= self.replay <= 1, "data.replay in [0,1]", self.replay)
        _check(_is_whole(every, least=1), "data.replay_every to be a whole number ≥ 1", every)


def check_neighbours(count: object) -> None:
    """Raise ValueError unless `count` slices on each side can be channels."""
    _check(type(count) is int and _is_whole(count, least=0), "data.neighbours to be a whole number ≥ 0", repr(count))


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and value >= least


def _check(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"expected {expected}; got {found}")


class SliceDataset(Dataset[Sample]):
    """Prepared slices, addressed by SampleKey and drawn by a SliceSampler."""

    def __init__(self, cases: Sequence[PreparedCase], classes: int, sampling: Sampling) -> None:
        self.cases, self.classes, self.sampling = list(cases), classes, sampling
        self.sampler = SliceSampler(
            self.cases, classes, foreground=sampling.foreground, rare=sampling.rare, replay=sampling.replay
        )

    @property
    def losses(self) -> LastLosses | None:
        """The last losses by slice that samples are drawn by; None where none are."""
        return self.sampler.losses

    def __getitem__(self, key: SampleKey) -> Sample:
        rng = key.rng(SAMPLING)
        case, index, wanted = self.sampler.draw(rng)
        image, codes, here = self._read(case, index, rng)
        drawn = codes if here is None else codes[here]
        inside = np.argwhere(case.scheme.inside(drawn, wanted)) if wanted is not None else np.empty((0, 2))
        centre = rng.choice(inside) if len(inside) else rng.random(2) * drawn.shape
        middle = centre if here is None else [len(codes) / 2, *centre]
        image, codes = (cut(array, middle, self.sampling.crop) for array in (image, codes))
        target = case.scheme.target(codes)
        return torch.from_numpy(image), torch.from_numpy(target), key, Origin(case.name, index)

    def _read(
        self, case: PreparedCase, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], int | None]:
        """Return a slice, or of a patch the slices and where the drawn one is among them."""
        if len(self.sampling.crop) == 2:
            return *case.slice(index, neighbours=self.sampling.neighbours), None
        depth, full = self.sampling.crop[0], case.shape[0]
        start = min(max(index - int(rng.integers(depth)), 0), max(full - depth, 0))
        return *case.block(start, min(start + depth, full)), index - start


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


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch; pixels where a target says IGNORED are listed in `ignored` and in no target."""
    images, targets, keys, origins = zip(*samples, strict=True)
    target = torch.stack(targets)
    ignored = (target[:, :1] == IGNORED) if (target == IGNORED).any() else None
    target = target if ignored is None else target.masked_fill(ignored, 0)
    return Batch(image=torch.stack(images), target=target, keys=keys, origins=origins, ignored=ignored)


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
