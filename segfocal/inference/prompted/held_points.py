"""What a user's points say holds in the answer: an inside point is inside the mask, an outside point outside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.inference.prompted.prompt_windows import OUTSIDE

Place = tuple[int, int]  # row and column of a pixel

DISC_MM = 2.0  # radius of what a point changes where the model does not follow it
_LEAST_PIXELS = 1.5  # of that radius: all four pixels around a point, so that it holds between them too


def with_points_held(
    logits: Tensor, points_xy: Sequence[tuple[float, float]], labels: Sequence[int], *, spacing_mm: Sequence[float]
) -> Tensor:
    """Return logits [h,w] that are on the right side of 0 at every point.

    A point that the model follows changes nothing. Round any other one a disc is put inside or outside, as far as no
    point of the other label is nearer. Of points on one pixel the last counts.

    Args:
        logits: [h,w] of a slice.
        points_xy: in its pixels, whole at a pixel's middle.
        labels: of the points: 1 inside, 0 outside.
        spacing_mm: of rows and columns.
    """
    h, w = logits.shape
    places = [(min(max(round(y), 0), h - 1), min(max(round(x), 0), w - 1)) for x, y in points_xy]
    wanted = dict(zip(places, labels, strict=True))
    unmet = [place for place, label in wanted.items() if (float(logits[place]) > 0) != bool(label)]
    if not unmet:
        return logits
    held = logits.clone()
    for place in unmet:
        rivals = [other for other, label in wanted.items() if label != wanted[place]]
        part, disc = _disc(place, rivals, (h, w), spacing_mm)
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
