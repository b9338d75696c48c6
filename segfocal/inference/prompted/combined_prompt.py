"""The prompts of one structure on one slice brought together: what is asked, each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from segfocal.inference.prompted.boxes_apart import distance_to, overlap
from segfocal.inference.prompted.scan_prompts import XY, SlicePrompt


@dataclass(kw_only=True, eq=False)
class CombinedPrompt:
    """What is asked at once of one structure on one slice: a box, lasso or mask, and the marks given after it.

    Args:
        first: a box, a lasso inside, or a mask; None without one.
        added: the marks given after it (points, scribbles, lassos outside), in order, and whether each is its own.
            Those of other boxes of the slice are outside: the model is not asked with them, but they hold.
    """

    first: SlicePrompt | None = None
    added: list[tuple[SlicePrompt, bool]] = field(default_factory=list)

    @property
    def marks(self) -> list[SlicePrompt]:
        """Its own marks."""
        return [mark for mark, own in self.added if own]

    @property
    def forbidden(self) -> list[SlicePrompt]:
        """The marks outside of other boxes."""
        return [mark for mark, own in self.added if not own]

    @property
    def signatures(self) -> list[str]:
        """Names of the prompts that count."""
        names = [mark.signature if own else f"forbidden {mark.signature}" for mark, own in self.added]
        return names if self.first is None else [self.first.signature, *names]

    def steps(self) -> Iterator[CombinedPrompt]:
        """Yield what was asked before each mark was added, and this prompt last."""
        for count in range(0 if self.first is not None else 1, len(self.added)):
            yield CombinedPrompt(first=self.first, added=self.added[:count])
        yield self

    @property
    def box_xyxy(self) -> tuple[float, ...] | None:
        """The box; None without one."""
        return None if self.first is None else self.first.box_xyxy

    @property
    def region_xyxy(self) -> tuple[float, ...] | None:
        """The box, or that around the lasso; None without either."""
        return None if self.first is None else self.first.region_xyxy

    @property
    def mask(self) -> Tensor | None:
        """The mask [h,w] in [0,1]; None without one."""
        return None if self.first is None else self.first.mask

    @property
    def points_xy(self) -> list[XY]:
        """The points among the marks."""
        return [mark.point_xy for mark in self.marks if mark.point_xy is not None]

    @property
    def point_labels(self) -> list[int]:
        """Of these points: 1 inside, 0 outside."""
        return [int(mark.inside) for mark in self.marks if mark.point_xy is not None]

    @property
    def inside_xy(self) -> list[XY]:
        """All points of marks inside, also those of scribbles."""
        return [xy for mark in self.marks if mark.inside for xy in mark.points]

    def marked_inside(self, size: tuple[int, int]) -> Tensor | None:
        """Return the pixels [h,w] (bool) of its marks inside; None without any."""
        inside = [mark.pixels(size) for mark in self.marks if mark.inside]
        return torch.stack(inside).any(0) if inside else None

    @property
    def stands_alone(self) -> bool:
        """Whether there is a box, lasso or mask, so that nothing has to be propagated here from other slices."""
        return self.first is not None

    def drawn(self, kind: Literal["scribbles", "lassos"], size: tuple[int, int]) -> Tensor | None:
        """Return its strokes of a kind as images [2,h,w], inside and outside; None without any."""
        outline = kind == "lassos"
        everything = [*([] if self.first is None else [self.first]), *self.marks]
        strokes = [one for one in everything if (one.lasso_xy if outline else one.scribble_xy) is not None]
        canvas = torch.zeros(2, *size)
        for stroke in strokes:
            canvas[0 if stroke.inside else 1][stroke.pixels(size)] = 1
        return canvas if strokes else None


def combine(prompts: Iterable[SlicePrompt]) -> list[CombinedPrompt]:
    """Bring together the prompts of one slice, in their order; return what is asked, each by itself.

    A mask replaces all before it. A box, or a lasso inside, replaces a mask, marks without a box, and boxes that it
    overlaps, with their marks: it corrects them. Boxes apart from each other stay, as of two kidneys. A mark (a point,
    a scribble, a lasso outside) belongs to the box that holds a point of it, else to the nearest.
    """
    asked: list[CombinedPrompt] = []
    for prompt in prompts:
        if prompt.adds:
            asked = asked or [CombinedPrompt()]
            nearest = asked[0]
            if len(asked) > 1:
                nearest = min(asked, key=lambda one: min(distance_to(one.region_xyxy, xy) for xy in prompt.points))
            nearest.added.append((prompt, True))
            for other in asked:
                if other is not nearest and not prompt.inside:
                    other.added.append((prompt, False))
            continue
        region = prompt.region_xyxy
        asked = (
            [] if region is None else [one for one in asked if one.region_xyxy and not overlap(one.region_xyxy, region)]
        )
        asked.append(CombinedPrompt(first=prompt))
    return asked
