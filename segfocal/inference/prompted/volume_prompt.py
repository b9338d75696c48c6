"""The prompts of one object of a volume brought together: what is asked at once of a model of volumes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from segfocal.inference.prompted.boxes_apart import distance_to, overlap
from segfocal.inference.prompted.scan_prompts import SlicePrompt

Size = tuple[int, int, int]  # voxels (d, h, w)


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumePrompt:
    """What a user said of one object, on any slices.

    prompts: in their order. A mask replaces all that came before it on its slice, a box or lasso inside a mask there
    and the boxes that it overlaps. Boxes on several slices are one box around them. A slice of a mask without a voxel
    inside bounds the object: a box then reaches up to it, and without one on the other side to the end of the volume.
    """

    prompts: tuple[SlicePrompt, ...]

    @property
    def names(self) -> list[tuple[int, str]]:
        """What an answer depends on: the slice and the name of each prompt."""
        return [(prompt.slice, prompt.signature) for prompt in self.prompts]

    @cached_property
    def kept(self) -> list[SlicePrompt]:
        """The prompts that none after them replaced."""
        kept: list[SlicePrompt] = []
        for prompt in self.prompts:
            if prompt.mask is not None:
                kept = [one for one in kept if one.slice != prompt.slice]
            elif prompt.region_xyxy is not None:
                kept = [one for one in kept if not _replaced(one, prompt)]
            kept.append(prompt)
        return kept

    @cached_property
    def marks(self) -> list[SlicePrompt]:
        """Points, scribbles, and lassos outside."""
        return [prompt for prompt in self.kept if prompt.adds]

    @property
    def last_mark(self) -> SlicePrompt | None:
        """The last prompt where it is a mark, else None."""
        return self.prompts[-1] if self.prompts[-1].adds else None

    @property
    def can_be_asked(self) -> bool:
        """Whether anything says where the object is."""
        marked = any(mark.inside for mark in self.marks)
        return marked or bool(self.regions) or any(_holds(mask) for mask in self.masks.values())

    def steps(self) -> Iterator[VolumePrompt]:
        """Yield what was asked before each mark was given, where that can be asked, and this prompt last."""
        for count in range(1, len(self.prompts)):
            before = VolumePrompt(prompts=self.prompts[:count])
            if self.prompts[count].adds and before.can_be_asked:
                yield before
        yield self

    @cached_property
    def masks(self) -> dict[int, Tensor]:
        """The share [h,w] inside, by slice."""
        return {prompt.slice: prompt.mask for prompt in self.kept if prompt.mask is not None}

    @property
    def settled(self) -> dict[int, Tensor]:
        """Those masks that are the answer of their slice: no mark there corrects them."""
        corrected = {mark.slice for mark in self.marks}
        return {z: mask for z, mask in self.masks.items() if z not in corrected}

    @cached_property
    def regions(self) -> dict[int, list[tuple[float, ...]]]:
        """Boxes, and boxes around lassos inside, [4] each, by slice."""
        found: dict[int, list[tuple[float, ...]]] = {}
        for prompt in self.kept:
            if prompt.region_xyxy is not None:
                found.setdefault(prompt.slice, []).append(prompt.region_xyxy)
        return found

    def box(self, depth: int) -> Tensor | None:
        """Return the box x0 y0 z0 x1 y1 z1 [6] of the drawn ones in a volume of `depth` slices; None without any."""
        drawn = [(prompt.slice, prompt.box_xyxy) for prompt in self.kept if prompt.box_xyxy is not None]
        if not drawn:
            return None
        sides = torch.tensor([box for _, box in drawn])
        slices = [z for z, _ in drawn]
        low, high = min(slices), max(slices) + 1
        absent = sorted(z for z, mask in self.masks.items() if not _holds(mask))
        if absent:
            low = max([z + 1 for z in absent if z < low], default=0)
            high = min([z for z in absent if z >= high], default=depth)
        x0y0, x1y1 = sides[:, :2].amin(0).tolist(), sides[:, 2:].amax(0).tolist()
        return torch.tensor([*x0y0, float(low), *x1y1, float(high)])

    def middle(self, size: Size) -> tuple[float, float, float]:
        """Return (z, y, x) of the middle of its box, else of its regions, masks or marks inside."""
        box = self.box(size[0])
        if box is not None:
            x0, y0, z0, x1, y1, z1 = box.tolist()
            return (z0 + z1 - 1) / 2, (y0 + y1) / 2, (x0 + x1) / 2
        places = [(z, (r[1] + r[3]) / 2, (r[0] + r[2]) / 2) for z, own in self.regions.items() for r in own]
        for z, mask in self.masks.items():
            inside = (mask > 0.5).nonzero().float()
            if len(inside):
                places.append((z, *inside.mean(0).tolist()))
        marks = self.marks
        own = places or [(mark.slice, y, x) for mark in marks if mark.inside for x, y in mark.points]
        z, y, x = (sum(axis) / len(own) for axis in zip(*own, strict=True))
        return z, y, x

    @property
    def points_xyz(self) -> Tensor:
        """The points among its marks [n,3]."""
        points = [(*mark.point_xy, float(mark.slice)) for mark in self.marks if mark.point_xy is not None]
        return torch.tensor(points, dtype=torch.float32).reshape(-1, 3)

    @property
    def point_labels(self) -> Tensor:
        """Of these points [n]: 1 inside, 0 outside."""
        return torch.tensor([int(mark.inside) for mark in self.marks if mark.point_xy is not None], dtype=torch.long)

    def drawn(self, kind: Literal["scribbles", "lassos"], size: Size) -> Tensor | None:
        """Return its strokes of a kind as volumes [2,d,h,w], inside and outside; None without any.

        A mask that holds something is an outline around it.
        """
        outline = kind == "lassos"
        strokes = [p for p in self.kept if (p.lasso_xy if outline else p.scribble_xy) is not None]
        masks = {z: mask for z, mask in self.masks.items() if outline and _holds(mask)}
        if not strokes and not masks:
            return None
        canvas = torch.zeros(2, *size)
        for z, mask in masks.items():
            canvas[0, z] = (mask > 0.5).float()
        for stroke in strokes:
            canvas[0 if stroke.inside else 1, stroke.slice][stroke.pixels(size[1:])] = 1
        return canvas

    def about(self, mark: SlicePrompt, size: Size) -> Tensor:
        """Return the voxels [d,h,w] (bool) of a mark."""
        voxels = torch.zeros(size, dtype=torch.bool)
        voxels[mark.slice] = mark.pixels(size[1:])
        return voxels

    def held(self, size: Size) -> Tensor:
        """Return the voxels [d,h,w] (bool) that say where the object is: of regions, masks, and marks inside."""
        voxels = torch.zeros(size, dtype=torch.bool)
        for z, own in self.regions.items():
            for x0, y0, x1, y1 in own:
                top, left = max(0, math.floor(y0)), max(0, math.floor(x0))
                voxels[z, top : math.ceil(y1), left : math.ceil(x1)] = True
        for z, mask in self.masks.items():
            voxels[z] |= mask > 0.5
        for mark in self.marks:
            if mark.inside:
                voxels[mark.slice] |= mark.pixels(size[1:])
        return voxels


def _holds(mask: Tensor) -> bool:
    """Return whether a mask [h,w] of shares has a pixel that is inside."""
    return bool((mask > 0.5).any())


def _replaced(one: SlicePrompt, by: SlicePrompt) -> bool:
    """Return whether a box or lasso replaces an earlier prompt."""
    if one.slice != by.slice or by.region_xyxy is None:
        return False
    return one.mask is not None or (one.region_xyxy is not None and overlap(one.region_xyxy, by.region_xyxy))


def objects_of(prompts: Sequence[SlicePrompt]) -> list[VolumePrompt]:
    """Bring together the prompts of one structure; return those of each object, in their order.

    Boxes and lassos inside that overlap in the plane, on whatever slices, are of one object. A mask says something of
    all objects. A mark belongs to the object whose boxes hold it, else to the nearest in the plane. Without boxes there
    is one object.
    """
    groups: list[list[tuple[float, ...]]] = []
    for region in [prompt.region_xyxy for prompt in prompts]:
        if region is not None:
            touched = [group for group in groups if any(overlap(region, other) for other in group)]
            groups = [group for group in groups if group not in touched]
            groups.append([region, *(one for group in touched for one in group)])
    if len(groups) < 2:
        return [VolumePrompt(prompts=tuple(prompts))] if prompts else []
    owned: list[list[SlicePrompt]] = [[] for _ in groups]
    for prompt in prompts:
        if prompt.mask is not None:  # says of a slice where the structure is, or that there is none
            for own in owned:
                own.append(prompt)
            continue
        if prompt.region_xyxy is not None:
            own_group = next(n for n, group in enumerate(groups) if prompt.region_xyxy in group)
        else:
            apart = [min(distance_to(box, xy) for box in group for xy in prompt.points) for group in groups]
            own_group = apart.index(min(apart))
        owned[own_group].append(prompt)
    return [VolumePrompt(prompts=tuple(own)) for own in owned]
