"""The first prompt of each target: none, a box, a click, a box with a click, a scribble or a lasso."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from segfocal.prompts import (
    ABSENT,
    LASSO_DRAWS,
    SCRIBBLE_DRAWS,
    Prompt,
    boxes_of,
    central_clicks_in,
    clicks_in,
    component_of,
    jitter_boxes,
    lassos_around,
    scribbles_in,
    shift_boxes,
)

_OTHER = 61.0  # makes another uniform number of one
_KINDS = ("none", "box", "point", "box_point", "scribble", "lasso")


@dataclass(frozen=True, kw_only=True)
class FirstPrompt:
    """How the prompts of the first round are drawn.

    Args:
        none: relative frequency of no prompt, ≥ 0.
        box: relative frequency of a box alone, ≥ 0.
        point: relative frequency of a click alone, ≥ 0.
        box_point: relative frequency of a box with a click, ≥ 0.
        scribble: relative frequency of a scribble in the target, ≥ 0.
        lasso: relative frequency of a lasso around the target, ≥ 0.
        drawn_by: "sample", the default, draws the kind for each sample; "batch" draws one for all of a step.
        empty: the prompt of a target without a pixel: "none", or "background" for one click outside. Where no prompt
            was drawn there is no click either.
        box_of: the box is that of the whole "target", of its "largest" connected component, or of a "random" one.
        jitter_pixels: each box side moves by up to so many pixels, ≥ 0.
        jitter_share: or by this share of the box's size, ≥ 0, whichever is more.
        flat: share of the boxes of volumes, in [0,1], that are one slice thick: that of a slice of the target, as it is
            drawn on a page. The others are around all of it.
        shift_pixels: the whole box then moves by up to so many pixels, ≥ 0, and at most half its shorter side.
        point_at: "uniform" draws any pixel of the target; "central" in proportion to its distance from the border.

    Components and distances are computed on the CPU; masks on a GPU are copied there.

    Raises:
        ValueError: frequencies that are negative or all zero, a negative distance, an unknown word.
    """

    STROKE_DRAWS = SCRIBBLE_DRAWS + LASSO_DRAWS  # uniform numbers that a scribble or lasso takes

    none: float = 0.5
    box: float = 0.4
    point: float = 0.1
    box_point: float = 0.0
    scribble: float = 0.0
    lasso: float = 0.0
    drawn_by: Literal["sample", "batch"] = "sample"
    empty: Literal["none", "background"] = "none"
    box_of: Literal["target", "largest", "random"] = "target"
    jitter_pixels: float = 2.0
    jitter_share: float = 0.1
    flat: float = 0.5
    shift_pixels: float = 0.0
    point_at: Literal["uniform", "central"] = "uniform"

    def __post_init__(self) -> None:
        for name in (*_KINDS, "jitter_pixels", "jitter_share", "shift_pixels"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"expected task.first.{name} ≥ 0; got {value!r}")
        if not sum(self._frequencies):
            raise ValueError(
                f"expected prompt frequencies task.first.none, box, … not all zero; got {self._frequencies}"
            )
        if not isinstance(self.flat, int | float) or not 0 <= self.flat <= 1:
            raise ValueError(f"expected task.first.flat from 0 to 1; got {self.flat!r}")
        check_word("task.first.drawn_by", self.drawn_by, "sample", "batch")
        check_word("task.first.empty", self.empty, "none", "background")
        check_word("task.first.box_of", self.box_of, "target", "largest", "random")
        check_word("task.first.point_at", self.point_at, "uniform", "central")

    @property
    def _frequencies(self) -> tuple[float, ...]:
        return tuple(getattr(self, kind) for kind in _KINDS)

    @staticmethod
    def draws(axes: int) -> tuple[int, int]:
        """Return how many uniform numbers a prompt about images of so many axes takes, in two parts.

        They are its kind, its box's sides and its click; its component and the shift of each axis.
        """
        return 2 + 2 * axes, 1 + axes

    @property
    def draws_strokes(self) -> bool:
        """Whether there are scribbles or lassos among the prompts."""
        return bool(self.scribble or self.lasso)

    def draw(
        self, target: Tensor, draws: Tensor, ignored: Tensor | None = None, strokes: Tensor | None = None
    ) -> Prompt:
        """Return a prompt for each mask of target [n,1,h,w], or [n,1,d,h,w].

        Args:
            target: the masks.
            draws: uniform numbers [n, sum(draws(axes))].
            ignored: of the target's shape, True where no click falls; the target is empty there.
            strokes: uniform numbers [n, STROKE_DRAWS], needed where `draws_strokes`.
        """
        inside, axes = target[:, 0] > 0.5, target.ndim - 2
        click = 1 + 2 * axes
        kind = draws[:, 0] * sum(self._frequencies)
        chosen = self._chosen(kind)
        has_box, has_point = chosen["box"] | chosen["box_point"], chosen["point"] | chosen["box_point"]
        xy, found = (clicks_in if self.point_at == "uniform" else central_clicks_in)(inside, draws[:, click])
        labels = torch.where(has_point & found, 1, ABSENT)
        if self.empty == "background":
            instead = ~found & (kind >= self.none)
            outside, anywhere = clicks_in(~inside if ignored is None else ~(inside | ignored[:, 0]), draws[:, click])
            instead &= anywhere
            xy, labels = torch.where(instead[:, None], outside, xy), torch.where(instead, 0, labels)
        prompt = replace(
            Prompt.none(len(target), device=target.device, axes=axes),
            boxes_xyxy=torch.where(has_box[:, None], self._boxes(inside, draws), torch.nan),
            points_xy=xy[:, None],
            point_labels=labels[:, None],
        )
        return prompt if strokes is None else _with_strokes(prompt, inside, chosen, strokes)

    def _chosen(self, kind: Tensor) -> dict[str, Tensor]:
        """Return for each kind of prompt the rows [n] that get it; rounding may reach the sum of all."""
        last = [name for name, frequency in zip(_KINDS, self._frequencies, strict=True) if frequency][-1]
        chosen: dict[str, Tensor] = {}
        low = 0.0
        for name, frequency in zip(_KINDS, self._frequencies, strict=True):
            high = low + frequency
            below = torch.ones_like(kind, dtype=torch.bool) if name == last else kind < high
            chosen[name] = (kind >= low) & below & (frequency > 0)
            low = high
        return chosen

    def _boxes(self, inside: Tensor, draws: Tensor) -> Tensor:
        """Return boxes [n,4], or [n,6], as a user might draw them; NaN for an empty target."""
        axes = inside.ndim - 1
        component, sides = draws[:, 2 + 2 * axes], draws[:, 1 : 1 + 2 * axes]
        if self.box_of != "target":
            inside = component_of(inside, component, which=self.box_of)
        if axes == 3:
            return self._boxes_of_volumes(inside, sides, (component * _OTHER) % 1, draws[:, 3 + 2 * axes :])
        boxes = jitter_boxes(boxes_of(inside[:, None]), sides, pixels=self.jitter_pixels, share=self.jitter_share)
        return shift_boxes(boxes, draws[:, 7:9], pixels=self.shift_pixels) if self.shift_pixels else boxes

    def _boxes_of_volumes(self, inside: Tensor, sides: Tensor, thin: Tensor, shifts: Tensor) -> Tensor:
        """Return boxes [n,6], those with `thin` [n] below `flat` around one slice, which is chosen and so not off."""
        flat = thin < self.flat
        one = _slices_of(inside, thin / max(self.flat, 1e-6))
        exact = boxes_of(torch.where(flat[:, None, None, None], one, inside)[:, None])
        boxes = jitter_boxes(exact, sides, pixels=self.jitter_pixels, share=self.jitter_share)
        if self.shift_pixels:  # in the plane
            plane = torch.tensor([0, 1, 3, 4], device=boxes.device)
            boxes[:, plane] = shift_boxes(boxes[:, plane], shifts[:, :2], pixels=self.shift_pixels)
        along = flat[:, None] & torch.tensor([False, False, True] * 2, device=flat.device)
        return torch.where(along, exact, boxes)


def _slices_of(inside: Tensor, uniforms: Tensor) -> Tensor:
    """Return one slice of each target [n,d,h,w], of those that hold some of it, all else left out."""
    held = inside.flatten(2).any(2)
    wanted = (uniforms.clamp(0, 1 - 1e-6) * held.sum(1)).long() + 1
    place = held & (held.cumsum(1) == wanted[:, None])
    return inside & place[:, :, None, None]


def _with_strokes(prompt: Prompt, inside: Tensor, chosen: dict[str, Tensor], strokes: Tensor) -> Prompt:
    """Return prompts with scribbles in, or lassos around, the targets [n,*space] of the rows that get one."""
    of_scribble, of_lasso = strokes.split([SCRIBBLE_DRAWS, LASSO_DRAWS], dim=1)
    around = [1] * (inside.ndim - 1)
    if chosen["scribble"].any():
        lines = scribbles_in(inside & chosen["scribble"].unflatten(0, (-1, *around)), of_scribble)
        prompt = prompt.with_scribbles(torch.stack([lines, torch.zeros_like(lines)], 1))
    if chosen["lasso"].any():
        areas = lassos_around(inside & chosen["lasso"].unflatten(0, (-1, *around)), of_lasso)
        prompt = prompt.with_lassos(torch.stack([areas, torch.zeros_like(areas)], 1))
    return prompt


def check_word(option: str, given: object, *allowed: str) -> None:
    """Raise ValueError unless an option is one of the words allowed."""
    if given not in allowed:
        raise ValueError(f"expected {option} {', '.join(allowed[:-1])} or {allowed[-1]}; got {given!r}")
