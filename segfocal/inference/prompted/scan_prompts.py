"""Prompts of a scan on the model's grid: one record, whether they come from a file or from a label map's boxes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.structure import Structure

Watch = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlicePrompt:
    """One thing a user says about one structure on one slice of the model's grid: a box, a point or a mask.

    Args:
        structure: its place among the bundle's structures.
        slice: index along the model's slice axis.
        box_xyxy: edges of pixels (x0, y0, x1, y1), half-open; None where it is no box.
        point_xy: pixel indices (x, y), whole at a pixel's middle; None where it is no point.
        inside: whether the point lies inside the structure; of points only.
        mask: the share [h,w] of each pixel that is inside, in [0,1]; None where it is no mask.
    """

    structure: int
    slice: int
    box_xyxy: tuple[float, ...] | None = None
    point_xy: tuple[float, float] | None = None
    inside: bool = True
    mask: Tensor | None = None

    @cached_property
    def signature(self) -> str:
        """A name that differs wherever the prompt does, whatever its structure and slice."""
        total = hashlib.blake2b(repr((self.box_xyxy, self.point_xy, self.inside)).encode(), digest_size=16)
        if self.mask is not None:
            total.update(self.mask.contiguous().numpy().data)
        return total.hexdigest()


@dataclass(kw_only=True, eq=False)
class CombinedPrompt:
    """What is asked at once of one structure on one slice: a box or a mask, and the points given after it.

    Args:
        box_xyxy: a box; None without one.
        mask: a mask [h,w] in [0,1]; None without one.
        points_xy: of the points after these.
        point_labels: 1 inside, 0 outside, one a point.
        forbidden_xy: outside points of the other boxes of the slice. The model is not asked with them, but they hold.
        signatures: of the prompts that count.
    """

    box_xyxy: tuple[float, ...] | None = None
    mask: Tensor | None = None
    points_xy: list[tuple[float, float]] = field(default_factory=list)
    point_labels: list[int] = field(default_factory=list)
    forbidden_xy: list[tuple[float, float]] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    @property
    def stands_alone(self) -> bool:
        """Whether there is a box or a mask, so that nothing has to be propagated here from other slices."""
        return self.box_xyxy is not None or self.mask is not None

    def add_point(self, prompt: SlicePrompt, place: tuple[float, float]) -> None:
        """Add a point prompt, which lies at `place`."""
        self.points_xy.append(place)
        self.point_labels.append(int(prompt.inside))
        self.signatures.append(prompt.signature)

    def forbid(self, prompt: SlicePrompt, place: tuple[float, float]) -> None:
        """Add the outside point of another box, which lies at `place`."""
        self.forbidden_xy.append(place)
        self.signatures.append(f"forbidden {prompt.signature}")


def combine(prompts: Iterable[SlicePrompt]) -> list[CombinedPrompt]:
    """Bring together the prompts of one slice, in their order; return what is asked, each by itself.

    A mask replaces all before it. A box replaces a mask, points without a box, and boxes that it overlaps, with their
    points: it corrects them. Boxes apart from each other stay, as of two kidneys. A point belongs to the box that holds
    it, else to the nearest.
    """
    asked: list[CombinedPrompt] = []
    for prompt in prompts:
        if prompt.point_xy is not None:
            asked = asked or [CombinedPrompt()]
            place = prompt.point_xy
            nearest = min(asked, key=lambda one: 0.0 if one.box_xyxy is None else _distance(one.box_xyxy, place))
            nearest.add_point(prompt, place)
            for other in asked:
                if other is not nearest and not prompt.inside:
                    other.forbid(prompt, place)
            continue
        box = prompt.box_xyxy
        asked = [] if box is None else [one for one in asked if one.box_xyxy and not _overlap(one.box_xyxy, box)]
        asked.append(CombinedPrompt(box_xyxy=box, mask=prompt.mask, signatures=[prompt.signature]))
    return asked


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(max(one[axis], other[axis]) < min(one[axis + 2], other[axis + 2]) for axis in (0, 1))


def _distance(box: Sequence[float], place: Sequence[float]) -> float:
    """Return how far a pixel's middle lies outside a box, 0 inside."""
    beyond = [max(box[axis] - 0.5 - place[axis], place[axis] + 0.5 - box[axis + 2], 0.0) for axis in (0, 1)]
    return math.hypot(*beyond)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanPrompts:
    """The prompts of one scan. Each slice is answered by its own boxes, each by itself, and nothing is propagated.

    prompts are in the order in which they count; structures are the bundle's.
    """

    prompts: Sequence[SlicePrompt]
    structures: Sequence[Structure]

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
        watch: is called with each slice that was asked anew, and may end it all by raising.
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
