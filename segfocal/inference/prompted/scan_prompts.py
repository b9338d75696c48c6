"""Prompts of a scan on the model's grid: one record, whether they come from a file or from a label map's boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.prompts import draw_line, fill_outline
from segfocal.structure import Structure

XY = tuple[float, float]
Watch = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlicePrompt:
    """One thing a user says about one structure on one slice of the model's grid.

    Args:
        structure: its place among the bundle's structures.
        slice: index along the model's slice axis.
        box_xyxy: edges of pixels (x0, y0, x1, y1), half-open; None where it is no box.
        point_xy: pixel indices (x, y), whole at a pixel's middle; None where it is no point.
        scribble_xy: such points of a line, one at least; None where it is no scribble.
        lasso_xy: such points of a closed outline, three at least; None where it is no lasso.
        inside: whether the point or line lies inside the structure, the outline around it; of no others.
        mask: the share [h,w] of each pixel that is inside, in [0,1]; None where it is no mask.
    """

    structure: int
    slice: int
    box_xyxy: tuple[float, ...] | None = None
    point_xy: XY | None = None
    scribble_xy: tuple[XY, ...] | None = None
    lasso_xy: tuple[XY, ...] | None = None
    inside: bool = True
    mask: Tensor | None = None

    @cached_property
    def signature(self) -> str:
        """A name that differs wherever the prompt does, whatever its structure and slice."""
        said = (self.box_xyxy, self.point_xy, self.scribble_xy, self.lasso_xy, self.inside)
        total = hashlib.blake2b(repr(said).encode(), digest_size=16)
        if self.mask is not None:
            total.update(self.mask.contiguous().numpy().data)
        return total.hexdigest()

    @property
    def adds(self) -> bool:
        """Whether it adds to other prompts of its slice: a point, a scribble, a lasso around what is no structure."""
        return self.mask is None and self.region_xyxy is None

    @property
    def region_xyxy(self) -> tuple[float, ...] | None:
        """The box, or that around a lasso inside; None of others."""
        if self.lasso_xy is None or not self.inside:
            return self.box_xyxy
        xs, ys = zip(*self.lasso_xy, strict=True)
        return (min(xs), min(ys), max(xs) + 1, max(ys) + 1)

    def pixels(self, size: tuple[int, int]) -> Tensor:
        """Return the pixels [h,w] (bool) of a point, moved into the slice, of a scribble, or within a lasso."""
        if self.point_xy is not None:
            x, y = (min(max(place, 0.0), side - 1.0) for place, side in zip(self.point_xy, size[::-1], strict=True))
            return draw_line([(x, y)], size)
        return draw_line(self.points, size) if self.lasso_xy is None else fill_outline(self.points, size)

    @property
    def points(self) -> tuple[XY, ...]:
        """Its points: of a point itself, a scribble, a lasso."""
        return (self.point_xy,) if self.point_xy is not None else self.scribble_xy or self.lasso_xy or ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanPrompts:
    """The prompts of one scan, boxes. A model of slices answers each by its own ones, and nothing is propagated.

    Args:
        prompts: in the order in which they count.
        structures: the bundle's.
        zoom: of windows, as of PropagationOptions.
    """

    prompts: Sequence[SlicePrompt]
    structures: Sequence[Structure]
    zoom: float | str | None = None

    def boxes(self, depth: int) -> Tensor:
        """Return boxes x0 y0 x1 y1 [k,depth,n,4], n the most of one structure on a slice; NaN where there are fewer."""
        placed: dict[tuple[int, int], list[tuple[float, ...]]] = {}
        for prompt in self.prompts:
            own = placed.setdefault((prompt.structure, prompt.slice), [])
            if prompt.box_xyxy is not None and prompt.box_xyxy not in own:
                own.append(prompt.box_xyxy)
        most = max([1, *map(len, placed.values())])
        boxes = torch.full((len(self.structures), depth, most, 4), torch.nan)
        for (k, z), own in placed.items():
            for number, box in enumerate(own):
                boxes[k, z, number] = torch.tensor(box)
        return boxes

    def report(self) -> dict[str, Any]:
        """Return what answering them says in a prediction's report."""
        return {}


@dataclass(kw_only=True)
class Reach:
    """How far one structure came: slices that were prompted, that hold an answer, and that were asked anew."""

    prompted: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True, eq=False)
class PropagatedPrompts(ScanPrompts):
    """The prompts of one scan on a few slices, propagated to the others (`propagation.propagate`).

    Args:
        prompts: in the order in which they count.
        structures: the bundle's.
        spacing_mm: of the model's grid, d, h, w.
        session: a folder where answers are kept, for this scan and any other.
        embeddings: a folder for the encoder's embeddings.
        options: what a slice hands on to the next one, and where that ends.
        reached: by structure; filled while the prompts are answered.
        watch: is called with each slice that was asked anew, or before each window of a volume with the slice of the
            last prompt, and may end it all by raising.
    """

    spacing_mm: tuple[float, float, float]
    session: Path
    embeddings: Path
    options: PropagationOptions = field(default_factory=PropagationOptions)
    reached: dict[int, Reach] = field(default_factory=dict)
    watch: Watch | None = None

    def report(self) -> dict[str, Any]:
        """Return, of each structure and in total, how many slices were prompted, hold an answer, were asked anew."""
        counts = ("prompted", "answered", "asked")
        rows = {
            structure.name: {key: len(getattr(self.reached[k], key)) for key in counts}
            for k, structure in enumerate(self.structures)
        }
        total = {key: sum(row[key] for row in rows.values()) for key in counts}
        return {"slices": {**total, "of": rows}}
