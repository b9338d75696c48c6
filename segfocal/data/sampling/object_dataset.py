"""Training samples of a picture and several of its objects, of any structure: what a promptable model learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.batch import SAMPLING, Origin, SampleKey
from segfocal.data.sampling.dataset import Sampling, SliceDataset, TrainingSample, cut
from segfocal.data.store.prepared_case import PreparedCase


class ObjectDataset(SliceDataset):
    """Pictures prepared by object with `sampling.objects` masks each, addressed by SampleKey.

    Pictures are drawn alike, then masks among those with a pixel in the crop: each once before any is drawn twice. A
    picture or crop without one gives empty masks.
    """

    def __getitem__(self, key: SampleKey) -> TrainingSample:
        rng = key.rng(SAMPLING)
        again = self.losses is not None and rng.random() < self.sampling.replay
        number = self.losses.draw(rng)[0] if self.losses and again else rng.integers(len(self.cases))
        case = self.cases[number]
        image, masks = case.masks(neighbours=self.sampling.neighbours)
        centre = rng.random(2) * masks.shape[1:]
        if rng.random() < self.sampling.foreground:
            inside = np.argwhere(masks[rng.choice(_held(masks))]) if masks.any() else np.empty((0, 2))
            centre = rng.choice(inside) if len(inside) else centre
        crop = self.sampling.crop
        target = _drawn(np.stack([cut(mask, centre, crop) for mask in masks]), self.sampling.objects or 1, rng)
        return TrainingSample(
            torch.from_numpy(cut(image, centre, crop)), torch.from_numpy(target), key, Origin(case.name)
        )


def _held(masks: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.flatnonzero(masks.any((1, 2)))


def _drawn(masks: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `count` of the masks [n,h,w] that hold a pixel, in random order."""
    held = _held(masks)
    if not len(held):
        return np.zeros((count, *masks.shape[1:]), dtype=np.uint8)
    return masks[np.resize(rng.permutation(held), count)]


def dataset_of(cases: Sequence[PreparedCase], classes: int, sampling: Sampling) -> SliceDataset:
    """Return the training samples of prepared cases, a channel a structure or, by `sampling.objects`, a drawn mask."""
    kind = SliceDataset if sampling.objects is None else ObjectDataset
    return kind(cases, classes, sampling)
