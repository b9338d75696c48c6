"""Batches, as they go from the data to a task, and the random numbers of each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class SampleKey(NamedTuple):
    """The identity of one training sample of a run; everything random about it is a function of this key."""

    seed: int
    step: int
    sample: int

    def rng(self, stream: int) -> np.random.Generator:
        """Return the sample's own generator for `stream`, a number for each use: SAMPLING, AUGMENTING, PROMPTING, …"""
        return np.random.default_rng([self.seed, self.step, self.sample, stream])


SAMPLING, AUGMENTING, PROMPTING, SHARED, STROKES = (
    0,
    1,
    2,
    3,
    4,
)  # the streams in use; SHARED is a step's, not a sample's


class Origin(NamedTuple):
    """Where a sample was cut from: its case, and the index of the slice (None for a picture taken whole)."""

    case: str
    slice_index: int | None = None

    def __str__(self) -> str:
        return self.case if self.slice_index is None else f"{self.case}, slice {self.slice_index}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Images with their targets, and where each came from; volumes have an axis d before h.

    Args:
        image: [b,c,h,w] in [0,1].
        target: [b,k,h,w] uint8, 1 inside each structure.
        keys: b, by which the samples draw their random numbers.
        origins: b, by which error messages name samples and `replay` remembers their losses.
        ignored: [b,1,h,w], True at pixels without a loss, which lie in no target; None, the default, without any.
        cells: [b,k,h,w] int32, the number of the lesion nearest to each pixel, 0 for none, as numbered in the sample;
            None, the default, unless the loss asks for them.
    """

    image: Tensor
    target: Tensor
    keys: tuple[SampleKey, ...]
    origins: tuple[Origin, ...]
    ignored: Tensor | None = None
    cells: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on `device`; a copy from pinned memory is asynchronous."""
        return self.with_each(lambda tensor: tensor.to(device, non_blocking=True))

    def channels_last(self) -> Batch:
        """Return the batch with its images in channels-last memory order."""
        order = torch.channels_last if self.image.ndim == 4 else torch.channels_last_3d
        return replace(self, image=self.image.contiguous(memory_format=order))

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in page-locked memory; a DataLoader calls this by name."""
        return self.with_each(Tensor.pin_memory)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Note that `stream` uses the batch's GPU memory, as Tensor.record_stream does."""
        for tensor in (self.image, self.target, self.ignored, self.cells):
            if tensor is not None:
                tensor.record_stream(stream)

    def with_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with each of its tensors changed."""
        ignored, cells = (None if one is None else change(one) for one in (self.ignored, self.cells))
        return replace(self, image=change(self.image), target=change(self.target), ignored=ignored, cells=cells)

    def __len__(self) -> int:
        return self.image.shape[0]


def uniforms(keys: tuple[SampleKey, ...], stream: int, count: int) -> Tensor:
    """Return float32 numbers in [0,1) of shape [b,count], row i a function of keys[i] and `stream` alone."""
    rows = [key.rng(stream).random(count, dtype=np.float32) for key in keys]
    return torch.from_numpy(np.stack(rows))


def step_uniforms(key: SampleKey, count: int) -> list[float]:
    """Return numbers in [0,1) that all samples of the step of `key` share, in every process."""
    return list(map(float, SampleKey(key.seed, key.step, 0).rng(SHARED).random(count)))
