"""Views: what a promptable model sees of a slice at once, a whole slice or a square cut around a structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segfocal.data.sampling.dataset import cut
from segfocal.data.store.prepared_case import PreparedCase
from segfocal.errors import UserError
from segfocal.evaluate.prompts.options import PromptEvaluation


class View(NamedTuple):
    """What the model sees of a slice at once, and the structures in it to ask for (channels of the target)."""

    case: PreparedCase
    slice: int
    structures: tuple[int, ...]


def views_of(cases: Sequence[PreparedCase], evaluation: PromptEvaluation, side: int) -> list[View]:
    """Return the views that hold a target: whole slices, or one view a structure where slices are larger than `side`.

    Raises:
        UserError: a structure in no slice.
    """
    structures, least = evaluation.preparation.structures, evaluation.protocol.min_pixels
    views: list[View] = []
    for case in cases:
        for index in range(case.shape[0]):
            present = tuple(np.flatnonzero(case.pixels[:, index] >= least).tolist())
            if max(case.shape[1:]) > side:
                views += [View(case, index, (k,)) for k in present]
            elif present:
                views.append(View(case, index, present))
    seen = {k for view in views for k in view.structures}
    for k, structure in enumerate(structures):
        if k not in seen:
            values = sorted({value for case in cases for value in case.label_values})
            raise UserError(
                expected=f"{structure.name} (label value {structure.value}) with {least} pixels in some slice",
                found=f"none in {', '.join(case.name for case in cases[:5])}; label values {values[:20]}",
                do="choose another target or split, or a smaller min_pixels",
            )
    return views


def batches_of(views: Sequence[View], most: int) -> Iterator[list[View]]:
    """Yield views with as many structures each, so that prompts fill a batch evenly."""
    by_count: dict[int, list[View]] = {}
    for view in views:
        by_count.setdefault(len(view.structures), []).append(view)
    for count, alike in by_count.items():
        size = max(1, most // count)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def load_view(view: View, side: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return image [c,side,side] and target [m,side,side] of a view, cut around the middle of its structures."""
    image, indices = view.case.slice(view.slice, neighbours=neighbours)
    masks = view.case.scheme.target(indices)[list(view.structures)] == 1
    inside = np.argwhere(masks.any(0))
    middle = (inside.min(0) + inside.max(0) + 1) / 2
    if not cut(masks.any(0), middle, (side, side)).any():  # parts farther from each other than a view is wide
        middle = inside[np.abs(inside - middle).sum(1).argmin()]
    target = np.stack([cut(mask, middle, (side, side)) for mask in masks])
    return torch.from_numpy(cut(image, middle, (side, side))), torch.from_numpy(target.astype(np.uint8))
