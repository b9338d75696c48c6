"""What a user's marks say holds in the answer: points and scribbles are inside or outside, and a lasso may be empty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.scan_prompts import XY, SlicePrompt

Place = tuple[int, int]  # row and column of a pixel

DISC_MM = 2.0  # radius of what a point changes where the model does not follow it
_LEAST_PIXELS = 1.5  # of that radius: all four pixels around a point, so that it holds between them too


def with_marks_held(logits: Tensor, marks: Sequence[SlicePrompt], *, spacing_mm: Sequence[float]) -> Tensor:
    """Return logits [h,w] of which all marks are true, of those that contradict each other the later one.

    Args:
        logits: [h,w] of a slice.
        marks: points and scribbles, each pixel of which counts as a point; and lassos outside, within which is nothing.
        spacing_mm: of rows and columns.
    """
    size = (logits.shape[0], logits.shape[1])
    pixels = [mark.pixels(size) for mark in marks]
    areas = [(number, pixels[number]) for number, mark in enumerate(marks) if mark.lasso_xy is not None]
    for _, area in areas:
        logits = torch.where(area, logits.clamp(max=OUTSIDE), logits)
    points, labels, barred = list[XY](), list[int](), list[Tensor | None]()
    for number, mark in enumerate(marks):
        if mark.lasso_xy is not None:
            continue
        later = _union([area for place, area in areas if place > number])
        own = [mark.point_xy] if mark.point_xy is not None else _places(pixels[number])
        points += own
        labels += [int(mark.inside and not (later is not None and later[_pixel(xy, size)])) for xy in own]
        others = [area for place, area in areas if place > number or not (area & pixels[number]).any()]
        barred += [_union(others)] * len(own)
    return with_points_held(logits, points, labels, spacing_mm=spacing_mm, barred=barred)


def _union(areas: Sequence[Tensor]) -> Tensor | None:
    return torch.stack([*areas]).any(0) if areas else None


def _places(line: Tensor) -> list[XY]:
    """Return the pixels of a line [h,w] as points."""
    return [(float(x), float(y)) for y, x in line.nonzero().tolist()]


def _pixel(xy: XY, size: tuple[int, int]) -> Place:
    """Return the pixel of a point, for one past the border that at it."""
    return min(max(round(xy[1]), 0), size[0] - 1), min(max(round(xy[0]), 0), size[1] - 1)


def with_points_held(
    logits: Tensor,
    points_xy: Sequence[XY],
    labels: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    barred: Sequence[Tensor | None] = (),
) -> Tensor:
    """Return logits [h,w] that are on the right side of 0 at every point.

    A point that the model follows changes nothing. Round any other one a disc is put inside or outside, as far as no
    point of the other label is nearer. Of points on one pixel the last counts.

    Args:
        logits: [h,w] of a slice.
        points_xy: in its pixels, whole at a pixel's middle.
        labels: of the points: 1 inside, 0 outside.
        spacing_mm: of rows and columns.
        barred: of each point, where the disc of an inside one does not reach, [h,w] bool or None; empty without any.
    """
    h, w = logits.shape
    places = [_pixel(xy, (h, w)) for xy in points_xy]
    wanted = dict(zip(places, labels, strict=True))
    bars = dict(zip(places, barred, strict=False))
    unmet = [place for place, label in wanted.items() if (float(logits[place]) > 0) != bool(label)]
    if not unmet:
        return logits
    held = logits.clone()
    for place in unmet:
        rivals = [other for other, label in wanted.items() if label != wanted[place]]
        part, disc = _disc(place, rivals, (h, w), spacing_mm)
        bar = bars.get(place)
        if bar is not None and wanted[place]:
            disc &= ~bar[part]
        inside = held[part].clamp(min=-OUTSIDE) if wanted[place] else held[part].clamp(max=OUTSIDE)
        held[part] = torch.where(disc, inside, held[part])
    return held


def _disc(
    place: Place, rivals: Sequence[Place], size: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[tuple[slice, slice], Tensor]:
    """Return the disc round a pixel, as a part of a slice of `size` and what of it is nearer to it than to rivals."""
    radius = max(DISC_MM, _LEAST_PIXELS * max(spacing_mm))
    reach = [int(radius / mm) for mm in spacing_mm]
    part = [slice(max(0, at - r), min(n, at + r + 1)) for at, r, n in zip(place, reach, size, strict=True)]
    own = _distance(place, part, spacing_mm)
    disc = own <= radius
    for rival in rivals:
        if all(abs(at - other) <= 2 * r for at, other, r in zip(place, rival, reach, strict=True)):
            disc &= own < _distance(rival, part, spacing_mm)
    return (part[0], part[1]), disc


def _distance(place: Place, part: Sequence[slice], spacing_mm: Sequence[float]) -> Tensor:
    """Return the distance in mm of a part's pixels from a pixel."""
    rows, columns = (torch.arange(along.start, along.stop) - at for along, at in zip(part, place, strict=True))
    return torch.hypot((rows * spacing_mm[0])[:, None], (columns * spacing_mm[1])[None])
