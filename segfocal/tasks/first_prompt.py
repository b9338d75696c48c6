"""The first prompt of each target: none, a box, a click, or a box with a click."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from segfocal.prompts import (
    ABSENT,
    Prompt,
    boxes_of,
    central_clicks_in,
    clicks_in,
    component_of,
    jitter_boxes,
    shift_boxes,
)


@dataclass(frozen=True, kw_only=True)
class FirstPrompt:
    """How first prompts are drawn.

    none, box, point, box_point: relative frequencies of the kinds. drawn_by: who draws the kind: each "sample" for
        itself, or the "batch", one for all of a step.
    empty: what a target without a pixel is asked with: "none" nothing, "background" one click outside (but nothing,
        where nothing was drawn).
    box_of: the whole "target", its "largest" connected component, or a "random" one.
    jitter_pixels, jitter_share: how far each box side may be off (the larger counts). shift_pixels: how far the box as
        a whole may be off besides, at most half its shorter side.
    point_at: a pixel of the target drawn "uniform"ly, or "central"ly, in proportion to its distance from the border.

    Components and distances are computed on the CPU, for which masks on a GPU are copied there.

    Raises:
        ValueError: frequencies that are negative or all zero, a negative distance, a word that is not listed here.
    """

    DRAWS: ClassVar[int] = 9  # uniform numbers a prompt takes: kind, four box sides, click, component, shift in x and y

    none: float = 0.5
    box: float = 0.4
    point: float = 0.1
    box_point: float = 0.0
    drawn_by: Literal["sample", "batch"] = "sample"
    empty: Literal["none", "background"] = "none"
    box_of: Literal["target", "largest", "random"] = "target"
    jitter_pixels: float = 2.0
    jitter_share: float = 0.1
    shift_pixels: float = 0.0
    point_at: Literal["uniform", "central"] = "uniform"

    def __post_init__(self) -> None:
        for name in ("none", "box", "point", "box_point", "jitter_pixels", "jitter_share", "shift_pixels"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"expected task.first.{name} ≥ 0; got {value!r}")
        kinds = (self.none, self.box, self.point, self.box_point)
        if not sum(kinds):
            raise ValueError(f"expected prompt frequencies task.first.none, box, … not all zero; got {kinds}")
        check_word("task.first.drawn_by", self.drawn_by, "sample", "batch")
        check_word("task.first.empty", self.empty, "none", "background")
        check_word("task.first.box_of", self.box_of, "target", "largest", "random")
        check_word("task.first.point_at", self.point_at, "uniform", "central")

    def draw(self, target: Tensor, draws: Tensor, ignored: Tensor | None = None) -> Prompt:
        """Return a prompt for each mask of target [n,1,h,w], by uniform numbers [n, DRAWS].

        ignored: [n,1,h,w], True where nothing is clicked; the target is empty there.
        """
        inside = target[:, 0] > 0.5
        kind = draws[:, 0] * (self.none + self.box + self.point + self.box_point)
        both = (kind >= self.none + self.box + self.point) & (self.box_point > 0)  # rounding may reach the sum of all
        asks_box = (kind >= self.none) & (kind < self.none + self.box) | both
        asks_point = kind >= self.none + self.box
        xy, found = (clicks_in if self.point_at == "uniform" else central_clicks_in)(inside, draws[:, 5])
        labels = torch.where(asks_point & found, 1, ABSENT)
        if self.empty == "background":
            instead = ~found & (kind >= self.none)
            outside, anywhere = clicks_in(~inside if ignored is None else ~(inside | ignored[:, 0]), draws[:, 5])
            instead &= anywhere
            xy, labels = torch.where(instead[:, None], outside, xy), torch.where(instead, 0, labels)
        return replace(
            Prompt.none(len(target), device=target.device),
            boxes_xyxy=torch.where(asks_box[:, None], self._boxes(inside, draws), torch.nan),
            points_xy=xy[:, None],
            point_labels=labels[:, None],
        )

    def _boxes(self, inside: Tensor, draws: Tensor) -> Tensor:
        """Return boxes [n,4] as a user might draw them; NaN for an empty target."""
        if self.box_of != "target":
            inside = component_of(inside, draws[:, 6], which=self.box_of)
        boxes = jitter_boxes(
            boxes_of(inside[:, None]), draws[:, 1:5], pixels=self.jitter_pixels, share=self.jitter_share
        )
        return shift_boxes(boxes, draws[:, 7:9], pixels=self.shift_pixels) if self.shift_pixels else boxes


def check_word(option: str, given: object, *allowed: str) -> None:
    """Raise ValueError unless an option is one of the words allowed."""
    if given not in allowed:
        raise ValueError(f"expected {option} {', '.join(allowed[:-1])} or {allowed[-1]}; got {given!r}")
