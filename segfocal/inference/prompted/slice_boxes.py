"""Box prompts for the slices of a volume, and inference that answers them.

Boxes are a tensor [k,d,4], for each structure and slice, of pixels (x0,y0,x1,y1, half-open) on the model's grid; a
row of NaN where a slice has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.grid import Grid, Volume
from segfocal.inference.prompted.prompt_windows import OUTSIDE, Look, crop, looks_at, paste
from segfocal.inference.sliding.sweep import Slab
from segfocal.models import PromptableModel
from segfocal.prompts import Prompt, boxes_of
from segfocal.resample import ModelGrid
from segfocal.structure import Structure


def boxes_from_labels(labels: Volume, structures: Sequence[Structure], grid: ModelGrid) -> Tensor:
    """Return each structure's bounding box in each slice of a label map, measured on the scan's own pixels."""
    return torch.stack([_boxes_of(labels, structure, grid) for structure in structures])


def _boxes_of(labels: Volume, structure: Structure, grid: ModelGrid) -> Tensor:
    inside = structure.inside(labels.oriented(grid.frame).array)
    boxes = boxes_of(torch.from_numpy(np.ascontiguousarray(inside))[:, None])
    _, h, w = grid.of(labels.grid).shape
    return boxes * torch.tensor([w / inside.shape[2], h / inside.shape[1]] * 2)


def boxes_from_file(path: str | Path, scan: Grid, structures: Sequence[Structure], grid: ModelGrid) -> Tensor:
    """Read boxes in voxels of the scan: [{"lower": [i,j,k], "upper": [i,j,k]}, …], both corners inside the box.

    Each 3-D box prompts every slice it reaches; where two of a structure reach one slice, the box around both counts.
    With several structures a box says "structure": "liver" too.

    Raises:
        UserError: missing or malformed file, a box outside the scan, one of no structure.
    """
    path = Path(path)
    listed = read_json(path)
    target = grid.of(scan)
    to_model = np.linalg.inv(target.affine) @ scan.affine
    names = [structure.name for structure in structures]
    boxes = torch.full((len(names), target.shape[0], 4), torch.nan)
    for entry in listed if isinstance(listed, list) else [listed]:
        corners = _corners(entry, scan, path)
        moved = np.array(list(itertools.product(*corners.T))) @ to_model[:3, :3].T + to_model[:3, 3] + 0.5
        (first, y0, x0), (last, y1, x1) = moved.min(0), moved.max(0)
        rows = slice(max(0, round(first)), max(round(last), round(first) + 1))
        new = torch.tensor([x0, y0, x1, y1], dtype=torch.float32)
        own = boxes[_which(entry, names, path), rows]
        own[:] = torch.cat([torch.fmin(own[:, :2], new[:2]), torch.fmax(own[:, 2:], new[2:])], dim=1)
    return boxes


def answer_boxes(
    image: Tensor, model: PromptableModel, boxes: Tensor, *, batch_size: int, device: torch.device
) -> Iterator[Slab]:
    """Yield logits [k,n,h,w] of `image` [c,d,h,w], a few slices at a time; slices without a box are background.

    A slice is seen through one window centred on its box, through several blended ones where the box is larger.
    """
    depth = image.shape[1]
    for start in range(0, depth, batch_size):
        stop = min(start + batch_size, depth)
        logits = torch.full((len(boxes), stop - start, *image.shape[2:]), OUTSIDE)
        places = itertools.product(range(start, stop), range(len(boxes)))
        looks = [look for z, k in places for look in looks_at(k, z, boxes[k, z], image.shape[2:], model.image_size)]
        for first in range(0, len(looks), batch_size):
            part = looks[first : first + batch_size]
            for look, answer in zip(part, _answers(image, model, part, device), strict=True):
                paste(logits[look.k, look.z - start], look, answer)
        yield Slab(start, stop, logits)


def _answers(image: Tensor, model: PromptableModel, looks: list[Look], device: torch.device) -> Tensor:
    windows = list({(look.z, look.top, look.left): look for look in looks}.values())  # structures may share one
    places = {(look.z, look.top, look.left): index for index, look in enumerate(windows)}
    crops = torch.stack([crop(image[:, look.z], look) for look in windows]).to(device)
    seen = torch.tensor([places[look.z, look.top, look.left] for look in looks], device=device)
    boxes = torch.stack([look.box for look in looks]).to(device)
    prompt = Prompt.none(len(looks), device=device).with_boxes(boxes)
    return model.answer(model.encode(crops).rows(seen), prompt).logits[:, 0].cpu()


def _which(entry: Any, names: Sequence[str], path: Path) -> int:
    """Return which structure a box is of."""
    named = entry.get("structure", names[0] if len(names) == 1 else None)
    if named not in names:
        raise UserError(
            expected=f'boxes with "structure": {" or ".join(names)}',
            found=str(entry)[:80],
            where=path,
            do="say of which structure each box is",
        )
    return names.index(named)


def _corners(entry: Any, scan: Grid, path: Path) -> NDArray[np.float64]:
    """Return the box's edges [[lower], [upper]] in continuous voxel coordinates of the scan."""
    try:
        corners = np.array([entry["lower"], entry["upper"]], dtype=np.float64)
    except (TypeError, KeyError, ValueError):
        corners = np.empty(0)
    if corners.shape != (2, 3):
        raise UserError(
            expected='boxes as [{"lower": [i,j,k], "upper": [i,j,k]}]',
            found=str(entry)[:80],
            where=path,
            do="write each box by its two corners, in voxels of the scan",
        )
    lower, upper = corners
    if not ((lower >= 0) & (lower <= upper) & (upper < np.array(scan.shape))).all():
        raise UserError(
            expected=f"0 ≤ lower ≤ upper < {scan.shape}",
            found=str(entry)[:80],
            where=path,
            do="give voxel indices of this scan",
        )
    return corners + np.array([[-0.5], [0.5]])
