"""From logits on a model's pixels to label values on the scan's, a structure at a time.

A structure that is nowhere above 0 wins nowhere. Bilinear weights are not negative, so it stays so on any pixels, and
is not resized. The others are compared one by one: a maximum over channels would jump a whole slice in memory, k times
a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.inference.sliding.sweep import Slab
from segfocal.resample import resized
from segfocal.structure import Structure

Watcher = Callable[[int, Tensor], None]

_LARGEST = 1 << 24  # logits brought to the scan's pixels at a time
_BYTE = 255


def label_slab(slab: Slab, labels: NDArray, structures: Sequence[Structure], *, watch: Watcher | None = None) -> None:
    """Bring a finished slab to the scan's pixels and write the label values that it means.

    Args:
        slab: logits [k,n,h,w], a channel a structure.
        labels: [d,h,w], the scan in the model's frame, zeros; written to.
        structures: one a channel k.
        watch: is shown the logits [n,k,h,w] on the scan's pixels first, with the index of their first slice.
    """
    size = labels.shape[1:]
    chunk = max(1, _LARGEST // (len(structures) * size[0] * size[1]))
    for start in range(slab.start, slab.stop, chunk):
        stop = min(start + chunk, slab.stop)
        part = slab.logits[:, start - slab.start : stop - slab.start]
        if watch:
            logits = resized(part.transpose(0, 1).float(), size)
            watch(start, logits)
            labels[start:stop] = labels_of(logits.unbind(1), structures)
            continue
        found = _anywhere_above_0(part)
        if found:
            logits_of_each = (resized(part[k][:, None].float(), size)[:, 0] for k in found)
            labels[start:stop] = labels_of(logits_of_each, [structures[k] for k in found])


def labels_of(logits: Iterable[Tensor], structures: Sequence[Structure]) -> NDArray:
    """Return label values [n,h,w] of logits [n,h,w], one tensor a structure, one or more.

    Each structure's where its logit is above 0 and the largest: of equal ones the first, none where any is NaN. Of
    structures that may overlap it is the sum of the values of all whose logits are above 0.
    """
    values = [structure.value for structure in structures]
    overlap = structures[0].overlaps
    dtype = torch.uint8 if (sum(values) if overlap else max(values)) <= _BYTE else torch.int64
    return (_sum_above_0 if overlap else _largest_above_0)(logits, values, dtype).cpu().numpy()


def _largest_above_0(logits: Iterable[Tensor], values: Sequence[int], dtype: torch.dtype) -> Tensor:
    each = iter(logits)
    top = next(each)
    found = torch.full(top.shape, values[0], dtype=dtype, device=top.device)
    for one, value in zip(each, values[1:], strict=True):
        found.masked_fill_(one > top, value)
        top = torch.maximum(top, one)  # NaN where either is
    return found.masked_fill_(~(top > 0), 0)


def _sum_above_0(logits: Iterable[Tensor], values: Sequence[int], dtype: torch.dtype) -> Tensor:
    above = (one > 0 for one in logits)
    first = next(above)
    found = first.to(dtype).mul_(values[0])
    for one, value in zip(above, values[1:], strict=True):
        found.add_(one, alpha=value)
    return found


def _anywhere_above_0(logits: Tensor) -> list[int]:
    """Return the channels k of logits [k,n,h,w] that hold a value above 0, or NaN."""
    nowhere = (logits.amax(dim=(1, 2, 3)) <= 0).tolist()
    return [k for k in range(len(logits)) if not nowhere[k]]
