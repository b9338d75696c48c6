"""What a user's marks say holds in the answer: points and scribbles are inside or outside, and a lasso may be empty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.distance_transform import edt
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.scan_prompts import XY, SlicePrompt

DISC_MM = 2.0  # radius of what a point changes where the model does not follow it
_LEAST_PIXELS = 1.5  # of that radius: all four pixels around a point, so that it holds between them too


def with_marks_held(logits: Tensor, marks: Sequence[SlicePrompt], *, spacing_mm: Sequence[float]) -> Tensor:
    """Return logits [h,w] of which all marks are true, of those that contradict each other the later one.

    A pixel that the model follows changes nothing. Round any other one a disc is put inside or outside, as far as no
    pixel of the other label is nearer. The disc of a mark inside does not reach into a lasso, but that which holds it
    and was drawn before.

    Args:
        logits: [h,w] of a slice.
        marks: points, scribbles, and lassos outside, within which is nothing.
        spacing_mm: of rows and columns.
    """
    size = (logits.shape[0], logits.shape[1])
    said, by = torch.full(size, -1), torch.full(size, -1)  # the label of each pixel, and the mark that gave it
    pixels = [mark.pixels(size) for mark in marks]
    areas = [number for number, mark in enumerate(marks) if mark.lasso_xy is not None]
    for number, (mark, own) in enumerate(zip(marks, pixels, strict=True)):
        if number in areas:
            logits = torch.where(own, logits.clamp(max=OUTSIDE), logits)
            said[own & (said == 1)] = 0
        else:
            said[own], by[own] = int(mark.inside), number
    held = _held(logits, said, 0, spacing_mm=spacing_mm)
    for number in by[(said == 1) & (logits <= 0)].unique().tolist() if areas else []:
        others = [pixels[area] for area in areas if area > number or not (pixels[area] & pixels[number]).any()]
        held = _held(held, said, 1, spacing_mm=spacing_mm, only=by == number, barred=_union(others))
    return held if areas else _held(held, said, 1, spacing_mm=spacing_mm)


def _union(areas: Sequence[Tensor]) -> Tensor | None:
    return torch.stack([*areas]).any(0) if areas else None


def with_points_held(
    logits: Tensor, points_xy: Sequence[XY], labels: Sequence[int], *, spacing_mm: Sequence[float]
) -> Tensor:
    """Return logits [h,w] that are on the right side of 0 at every point, as `with_marks_held`.

    Args:
        logits: [h,w] of a slice.
        points_xy: in its pixels, whole at a pixel's middle.
        labels: of the points: 1 inside, 0 outside.
        spacing_mm: of rows and columns.
    """
    points = zip(points_xy, labels, strict=True)
    marks = [SlicePrompt(structure=0, slice=0, point_xy=xy, inside=bool(label)) for xy, label in points]
    return with_marks_held(logits, marks, spacing_mm=spacing_mm)


def _held(
    logits: Tensor,
    said: Tensor,
    label: int,
    *,
    spacing_mm: Sequence[float],
    only: Tensor | None = None,
    barred: Tensor | None = None,
) -> Tensor:
    """Return logits [h,w] that hold at the pixels [h,w] of a label, or at some of them, with discs where they did not.

    Args:
        logits: of a slice.
        said: the label of each pixel, −1 where nothing was said.
        label: 1 or 0.
        spacing_mm: of rows and columns.
        only: of these pixels, bool; None for all.
        barred: where discs do not reach, bool; None for everywhere.
    """
    unmet = (said == label) & ((logits > 0) != bool(label))
    unmet = unmet if only is None else unmet & only
    if not unmet.any():
        return logits
    radius = max(DISC_MM, _LEAST_PIXELS * max(spacing_mm))
    places = unmet.nonzero()
    around = [2 * int(radius / mm) + 1 for mm in spacing_mm]  # a rival farther away is nearer to no pixel of a disc
    part = tuple(
        slice(max(0, low - reach), high + reach + 1)
        for low, high, reach in zip(places.amin(0).tolist(), places.amax(0).tolist(), around, strict=True)
    )
    own, rival = (_distance(mask[part], spacing_mm) for mask in (unmet, said == 1 - label))
    disc = (own <= radius) & (own < rival)
    disc = disc if barred is None else disc & ~barred[part]
    held = logits.clone()
    changed = held[part].clamp(min=-OUTSIDE) if label else held[part].clamp(max=OUTSIDE)
    held[part] = torch.where(disc, changed, held[part])
    return held


def _distance(mask: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Return each pixel's distance in mm to the nearest one of a mask [h,w], infinite without any."""
    return torch.from_numpy(edt(~mask.numpy(), spacing=spacing_mm))
