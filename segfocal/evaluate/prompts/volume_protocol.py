"""Prompts about whole volumes, one after another: a box on one slice, then clicks in the middle of the largest error.

Source: the challenge "Foundation Models for Interactive 3D Biomedical Image Segmentation" (CVPR 2025): a box in a
middle slice with the first and last slice, then five clicks, Dice and NSD at 2 mm after each. Differences: the box lies
on the slice where the structure is largest; masks are scored on the model's grid; of equally deep voxels the one
nearest to the middle is clicked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.connected_components import components
from segfocal.distance_transform import edt
from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, SlicePrompt
from segfocal.models import PromptableModel
from segfocal.prompts import boxes_of
from segfocal.structure import Structure

CLICKS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeAsker:
    """A promptable model that answers about one volume, and how.

    Args:
        model: answers prompts.
        image: [c,d,h,w] in [0,1], on the model's grid.
        spacing_mm: of its axes d, h, w.
        options: of what is propagated.
        device: where the model is.
        batch_size: slices at a time.
    """

    model: PromptableModel
    image: Tensor
    spacing_mm: tuple[float, float, float]
    options: PropagationOptions
    device: torch.device
    batch_size: int

    def answer(self, prompts: list[SlicePrompt], session: Path) -> NDArray[np.bool_]:
        """Return the mask [d,h,w] that prompts of one structure are answered with; `session` keeps answers."""
        given = PropagatedPrompts(
            prompts=prompts,
            structures=[Structure(name="structure", value=1)],
            spacing_mm=self.spacing_mm,
            session=session / "answers",
            embeddings=session / "embeddings",
            options=self.options,
        )
        with torch.no_grad():
            slabs = propagate(given, self.image, self.model, device=self.device, batch_size=self.batch_size)
            return np.concatenate([(slab.logits[0] > 0).numpy() for slab in slabs])


def volume_answers(asker: VolumeAsker, truth: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], float]]:
    """Yield the mask [d,h,w] after the box and after each of the clicks, and the seconds that it took.

    asker: of the volume. truth: [d,h,w], the structure, not empty.
    """
    prompts = box_prompts(truth)
    with TemporaryDirectory(prefix="segfocal_") as folder:
        for number in range(CLICKS + 1):
            began = time.monotonic()
            answer = asker.answer(prompts, Path(folder))
            yield answer, time.monotonic() - began
            place = error_middle(answer, truth)
            if number < CLICKS and place is not None:
                z, y, x = place
                prompts.append(
                    SlicePrompt(structure=0, slice=z, point_xy=(float(x), float(y)), inside=bool(truth[place]))
                )


def box_prompts(truth: NDArray[np.bool_]) -> list[SlicePrompt]:
    """Return the box on the slice where a structure [d,h,w] is largest, and that it is absent beyond both its ends."""
    areas = truth.sum((1, 2))
    z, slices = int(areas.argmax()), np.flatnonzero(areas)
    box = boxes_of(torch.from_numpy(truth[z])[None, None].float())[0]
    prompts = [SlicePrompt(structure=0, slice=z, box_xyxy=tuple(box.tolist()))]
    for beyond in (int(slices[0]) - 1, int(slices[-1]) + 1):
        if 0 <= beyond < len(truth):
            prompts.append(SlicePrompt(structure=0, slice=beyond, mask=torch.zeros(truth.shape[1:])))
    return prompts


def error_middle(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Return the voxel of the largest connected error that is farthest from its border; None without errors."""
    found = components(answer != truth)
    if not len(found.sizes):
        return None
    own = found.numbers == 1 + int(found.sizes.argmax())
    low = np.argwhere(own).min(0)
    part = own[tuple(slice(first, last + 1) for first, last in zip(low, np.argwhere(own).max(0), strict=True))]
    depth = edt(part, bordered=True)
    deepest = np.argwhere(depth == depth.max())
    nearest = np.square(deepest - np.argwhere(part).mean(0)).sum(1).argmin()
    z, y, x = (deepest[nearest] + low).tolist()
    return z, y, x
