"""Boxes on every slice: boxes of a label map, and inference that answers each slice by its own boxes.

Boxes are a tensor [k,d,n,4], for each structure and slice, of pixels (x0,y0,x1,y1, half-open) on the model's grid; a
row of NaN where a slice has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from segfocal.grid import Volume
from segfocal.inference.prompted.prompt_windows import OUTSIDE, PromptWindow, paste, windows_around
from segfocal.inference.prompted.scan_prompts import ScanPrompts, SlicePrompt
from segfocal.inference.prompted.touching import near_box
from segfocal.inference.prompted.zoom import resized, seen, side_for, zoom_of
from segfocal.inference.sliding.sweep import Slab
from segfocal.models import PromptableModel
from segfocal.prompts import Prompt, boxes_of
from segfocal.resample import ModelGrid, slices_joined
from segfocal.structure import Structure


def boxes_from_labels(labels: Volume, structures: Sequence[Structure], grid: ModelGrid) -> ScanPrompts:
    """Return each structure's bounding box in each slice of a label map, measured on the scan's own pixels."""
    prompts = []
    for k, structure in enumerate(structures):
        boxes = _boxes_of(labels, structure, grid)
        boxes = torch.stack([_around(boxes[own]) for own in slices_joined(len(boxes), grid.of(labels.grid).shape[0])])
        for z in torch.isfinite(boxes).all(1).nonzero().flatten().tolist():
            prompts.append(SlicePrompt(structure=k, slice=z, box_xyxy=tuple(boxes[z].tolist())))
    return ScanPrompts(prompts=prompts, structures=structures)


def _boxes_of(labels: Volume, structure: Structure, grid: ModelGrid) -> Tensor:
    inside = structure.inside(labels.oriented(grid.frame).array)
    boxes = boxes_of(torch.from_numpy(np.ascontiguousarray(inside))[:, None])
    _, h, w = grid.of(labels.grid).shape
    return boxes * torch.tensor([w / inside.shape[2], h / inside.shape[1]] * 2)


def _around(boxes: Tensor) -> Tensor:
    """Return the box [4] around boxes [n,4]; NaN where there is none."""
    there = boxes[torch.isfinite(boxes).all(1)]
    return torch.cat([there[:, :2].amin(0), there[:, 2:].amax(0)]) if len(there) else boxes[0]


def answer_boxes(
    image: Tensor,
    model: PromptableModel,
    boxes: Tensor,
    *,
    batch_size: int,
    device: torch.device,
    cut: bool = True,
    zoom: float | str | None = None,
) -> Iterator[Slab]:
    """Yield logits [k,n,h,w], a few slices at a time; slices without a box are background.

    A box is seen through one window centred on it, through several blended ones where it is larger. Of its answer the
    components near the box count that touch it; of several boxes of a structure on a slice the answers are joined.

    Args:
        image: [c,d,h,w] in [0,1], on the model's grid.
        model: answers a box.
        boxes: [k,d,n,4] in pixels of the image, NaN where a slice has fewer than n.
        batch_size: slices, and windows, at a time.
        device: where the model is.
        cut: leave out what is farther from its box than its margin, and components that do not touch it (`near_box`);
            False to compare networks.
        zoom: as of PropagationOptions.
    """
    depth, size = image.shape[1], image.shape[2:]
    for start in range(0, depth, batch_size):
        stop = min(start + batch_size, depth)
        logits = torch.full((len(boxes), stop - start, *size), OUTSIDE)
        for number in range(boxes.shape[2]):
            own = boxes[:, start:stop, number]
            scale = zoom_of(model, zoom)
            found = _answered(image, model, own, start, batch_size=batch_size, device=device, zoom=scale)
            for (k, z), canvas in found.items():
                near = near_box(canvas, own[k, z]) if cut else canvas
                logits[k, z] = torch.maximum(logits[k, z], near) if number else near
        yield Slab(start, stop, logits)


def _answered(
    image: Tensor,
    model: PromptableModel,
    boxes: Tensor,
    start: int,
    *,
    batch_size: int,
    device: torch.device,
    zoom: float | None,
) -> dict[tuple[int, int], Tensor]:
    """Return the logits [h,w] of boxes [k,n,4], one at most a structure and slice from `start`, by these two."""
    size = image.shape[2:]
    windows: list[PromptWindow] = []
    for z, k in itertools.product(range(boxes.shape[1]), range(len(boxes))):
        side = side_for(boxes[k, z], zoom, own=model.image_size, size=size)
        windows += windows_around(k, start + z, boxes[k, z], size, side)
    found: dict[tuple[int, int], Tensor] = {}
    for first in range(0, len(windows), batch_size):
        part = windows[first : first + batch_size]
        for window, answer in zip(part, _answers(image, model, part, device), strict=True):
            canvas = found.setdefault((window.k, window.z - start), torch.full(size, OUTSIDE))
            paste(canvas, window, answer)
    return found


def _answers(
    image: Tensor, model: PromptableModel, windows: list[PromptWindow], device: torch.device
) -> Iterator[Tensor]:
    """Yield the logits [side,side] of windows; those of several structures that see the same are encoded once."""
    own = model.image_size
    views = [(window.z, window.top, window.left, window.weights.shape[0]) for window in windows]
    distinct = dict(zip(views, windows, strict=True))
    places = {view: index for index, view in enumerate(distinct)}
    crops = torch.cat([seen(image[:, window.z], [window], own) for window in distinct.values()]).to(device)
    rows = torch.tensor([places[view] for view in views], device=device)
    boxes = torch.stack([window.box * (own / window.weights.shape[0]) for window in windows]).to(device)
    prompt = Prompt.none(len(windows), device=device).with_boxes(boxes)
    answer = model.answer(model.encode(crops).rows(rows), prompt).logits.cpu()
    for window, logits in zip(windows, answer, strict=True):
        yield resized(logits, window.weights.shape[0])[0]
