"""Augmentation by transforms of other libraries, such as MONAI's: dictionary transforms, sample by sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.batch import AUGMENTING, Batch
from segfocal.errors import UserError


@dataclass(frozen=True, kw_only=True)
class EachSample:
    """Augmentation by a dictionary transform, called once a sample with random numbers of that sample's own.

    A transform with `set_random_state`, as MONAI's, is seeded by it. For those that draw from the global generators of
    torch, NumPy or Python, these are seeded for the call and put back.

    Args:
        transform: takes and returns {"image": [c,h,w] in [0,1], "label": [k,h,w] of 0 and 1}, float32, of volumes with
            d before h. It sees the sample with its margin; what it returns is cut to the centre. Pixels that a batch
            ignores are a last channel of the label.
    """

    transform: Callable[[dict[str, Any]], Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not callable(self.transform):
            raise ValueError(f"expected augment.transform to be a transform with a _target_; got {self.transform!r}")

    @property
    def changes_images(self) -> bool:
        """Whether an image may look different each time: always, as we cannot know."""
        return True

    def __call__(self, batch: Batch, *, size: tuple[int, ...]) -> Batch:
        """Return the batch changed and cut to its central `size`; labels belong to a mask from one half on.

        Raises:
            UserError: a transform that returns no image and label, or with other channels than it got.
        """
        masks = [batch.target] if batch.ignored is None else [batch.target, batch.ignored.to(batch.target)]
        images, labels = [], []
        for image, label, key in zip(batch.image, torch.cat(masks, dim=1), batch.keys, strict=True):
            with _seeded(self.transform, int(key.rng(AUGMENTING).integers(2**32))):
                done = self.transform({"image": image.clone(), "label": label.float()})
            images.append(_centre(_part(done, "image", like=image), size))
            labels.append(_centre(_part(done, "label", like=label), size))
        image = torch.stack(images).to(batch.image).clamp_(0.0, 1.0)
        label, many = torch.stack(labels).to(image.device), batch.target.shape[1]
        target = label[:, :many]
        if not batch.target.is_floating_point():
            target = (target >= 0.5).to(batch.target.dtype)
        if batch.ignored is None:
            return replace(batch, image=image, target=target)
        ignored = label[:, many:] >= 0.5
        return replace(batch, image=image, target=target.masked_fill(ignored, 0), ignored=ignored)


@contextmanager
def _seeded(transform: Any, seed: int) -> Iterator[None]:
    """Seed a transform and the global generators of the CPU, and put the latter back afterwards."""
    numbers, words = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(seed=seed)
        try:
            yield
        finally:
            np.random.set_state(numbers)
            random.setstate(words)


def _part(done: Any, name: str, *, like: Tensor) -> Tensor:
    """Return the image or label that a transform returned, as a plain float tensor."""
    value = done.get(name) if isinstance(done, Mapping) else None
    part = torch.as_tensor(value).as_subclass(Tensor).float() if isinstance(value, Tensor | np.ndarray) else None
    if part is None or part.ndim != like.ndim or len(part) != len(like):
        found = type(value).__name__ if part is None else f"shape {list(part.shape)}"
        raise UserError(
            expected=f"augment.transform to return {name} with {len(like)} channels and {like.ndim - 1} axes",
            found=found,
            do="leave out transforms that add or drop channels or axes, and name only the keys image and label",
        )
    return part


def _centre(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the central `size` of an image [c,…], padded evenly by 0 where it is smaller."""
    pads: list[int] = []
    for side, wanted in zip(image.shape[:0:-1], size[::-1], strict=True):
        before = int((side - wanted) / 2)
        pads += [-before, before - (side - wanted)]
    return F.pad(image, pads)
