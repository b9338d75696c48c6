"""Scribbles and lassos: what a user draws, as pixels; and as clicks and boxes, for models that know no others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.prompts.boxes import boxes_of
from segfocal.prompts.prompt import ABSENT, STROKES, Prompt

MOST_CLICKS = 4  # that a stroke becomes
_APART = 4.0  # pixels between them, at least

XY = tuple[float, float]


def draw_line(points_xy: Sequence[XY], size: tuple[int, int]) -> Tensor:
    """Return the pixels [h,w] (bool) of a line through points in pixels, whole at a pixel's middle.

    They are connected, corners included. What lies beyond the image of `size` (h, w) is left out.
    """
    points = np.asarray(points_xy, dtype=np.float64).reshape(-1, 2)
    pieces = [points[:1]]
    for start, stop in itertools.pairwise(points):
        steps = int(np.ceil(np.abs(stop - start).max()))  # a pixel each at most, so that none is passed over
        pieces.append(start + (stop - start) * (np.arange(1, steps + 1) / max(steps, 1))[:, None])
    x, y = np.floor(np.concatenate(pieces) + 0.5).T
    seen = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    drawn = np.zeros(size, dtype=bool)
    drawn[y[seen].astype(np.intp), x[seen].astype(np.intp)] = True
    return torch.from_numpy(drawn)


def fill_outline(points_xy: Sequence[XY], size: tuple[int, int]) -> Tensor:
    """Return the pixels [h,w] (bool) of a closed outline and of all whose middle lies within it, by even and odd."""
    points = np.asarray(points_xy, dtype=np.float64).reshape(-1, 2)
    following = np.roll(points, -1, axis=0)
    inside = np.zeros(size, dtype=bool)
    columns = np.arange(size[1])
    for y in range(max(0, int(np.ceil(points[:, 1].min()))), min(size[0], int(points[:, 1].max()) + 1)):
        crossing = (points[:, 1] <= y) != (following[:, 1] <= y)
        (x0, y0), (x1, y1) = points[crossing].T, following[crossing].T
        edges = np.sort(x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        inside[y] = np.searchsorted(edges, columns, side="right") % 2 == 1
    return torch.from_numpy(inside) | draw_line([*points_xy, points_xy[0]], size)


def as_clicks_and_boxes(prompt: Prompt, *, known: Sequence[str] = ()) -> Prompt:
    """Return a prompt whose strokes are clicks and boxes, all but those of the kinds `known`.

    A scribble becomes up to 4 clicks spread along it, a lasso inside its box where there is no other, a lasso outside
    up to 4 clicks spread over it. They are found on the CPU.
    """
    unknown = [kind for kind in STROKES if kind not in known and getattr(prompt, kind) is not None]
    for kind in unknown:
        inside, outside = getattr(prompt, kind).unbind(1)
        if kind == "scribbles":
            prompt = prompt.with_clicks(*_spread(inside, 1))
        else:
            own = torch.isfinite(prompt.boxes_xyxy).all(1, keepdim=True)
            prompt = prompt.with_boxes(torch.where(own, prompt.boxes_xyxy, boxes_of(inside[:, None])))
        prompt = prompt.with_clicks(*_spread(outside, 0))
    without: dict[str, Any] = dict.fromkeys(unknown)
    return replace(prompt, **without)


def _spread(regions: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """Return clicks xy [n,c,2] in regions [n,h,w], or xyz in [n,d,h,w], and their labels [n,c].

    A label is ABSENT where a region needs fewer than c.
    """
    places = [_spread_in(region) for region in (regions > 0.5).cpu().numpy()]
    most = max(map(len, places))
    xy, labels = torch.zeros(len(places), most, regions.ndim - 1), torch.full((len(places), most), ABSENT)
    for row, own in enumerate(places):
        xy[row, : len(own)] = torch.from_numpy(own)
        labels[row, : len(own)] = label
    return xy.to(regions.device), labels.to(regions.device)


def _spread_in(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return pixels xy [c,2] of a region: the one nearest to its middle, then each farthest from those before."""
    pixels = np.argwhere(region)[:, ::-1].astype(np.float32)
    if not len(pixels):
        return pixels
    chosen = [int(np.square(pixels - pixels.mean(0)).sum(1).argmin())]
    away = np.full(len(pixels), np.inf, dtype=np.float32)
    while len(chosen) < MOST_CLICKS:
        away = np.minimum(away, np.square(pixels - pixels[chosen[-1]]).sum(1))
        if away.max() < _APART**2:
            break
        chosen.append(int(away.argmax()))
    return pixels[chosen]
