"""From a scan to a label map on the scan's own grid, slab by slab.

scan → model grid → intensity → windows → model → blended logits → scan's pixels → label → scan's axes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from segfocal.batch import Structure
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.inference.blend import Slab, sweep
from segfocal.inference.boxes import answer_boxes
from segfocal.inference.bundle import Bundle
from segfocal.io.nifti import smallest_integer_type
from segfocal.models import PromptableModel
from segfocal.resample import resized

Watcher = Callable[[int, Tensor], None]
Answering = Callable[[Tensor, PromptableModel, torch.device], Iterator[Slab]]


@torch.no_grad()
def segment(
    scan: Volume,
    bundle: Bundle,
    *,
    boxes: Tensor | None = None,
    answering: Answering | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    watch: Watcher | None = None,
) -> Volume:
    """Return the label map of a scan: each structure's value where its logit is above 0 and the largest.

    boxes: prompts [k,d,4] on the model's grid (see `segfocal.inference.boxes`), which each structure's logits answer;
    None asks nothing and slides windows.
    answering: makes slabs of logits of the image [1,d,h,w] on the model's grid instead (`propagate.PromptedScan`).
    watch: is called with the first index of each finished slab and its logits [n,k,h,w], on the scan's pixels in the
    model's frame. The model must be in evaluation mode on `device`.

    Raises:
        UserError: boxes for a model that takes no prompts, none for one that needs them.
    """
    device = torch.device(device)
    turned = scan.grid.orientation_to(bundle.grid.frame)
    seen = bundle.grid.image(scan)
    image = torch.from_numpy(bundle.intensity(seen.array))[None]
    if boxes is None and answering is None:
        if bundle.needs_prompts:
            raise UserError(
                expected=f"boxes of {', '.join(structure.name for structure in bundle.structures)}",
                found="no prompt for a model that was trained with prompts only",
                do="add prompts=FILE.json, or prompt=box with boxes=FILE.json, or train with task.first.none above 0",
            )
        slabs = sweep(
            image, bundle.model, window=(1, *bundle.window), overlap=overlap, batch_size=batch_size, device=device
        )
    else:
        if not isinstance(bundle.model, PromptableModel):
            raise UserError(
                expected="a bundle of a promptable model for prompts",
                found=type(bundle.model).__name__,
                do="leave the prompts out, or train with task=promptable",
            )
        if answering is not None:
            slabs = answering(image, bundle.model, device)
        elif boxes is not None:
            slabs = answer_boxes(image, bundle.model, boxes, batch_size=batch_size, device=device)
    shape = turned.apply(np.broadcast_to(0, scan.grid.shape)).shape
    labels = _labelled(slabs, bundle.structures, shape, watch)
    return Volume(array=turned.undo(labels), grid=scan.grid)


def _labelled(
    slabs: Iterator[Slab], structures: Sequence[Structure], shape: tuple[int, ...], watch: Watcher | None
) -> np.ndarray:
    """Bring each finished slab to the scan's pixels, reduce it to labels, and forget its logits."""
    values = np.array([0, *[structure.value for structure in structures]])
    labels = np.zeros(shape, dtype=smallest_integer_type(values))
    for slab in slabs:
        logits = resized(slab.logits.transpose(0, 1), shape[1:])  # [n,k,h,w]
        if watch:
            watch(slab.start, logits)
        top, channel = logits.max(dim=1)
        index = torch.where(top > 0, channel + 1, 0).cpu().numpy()
        labels[slab.start : slab.stop] = values[index]
    return labels
