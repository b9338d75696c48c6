"""The prompt of a promptable model: clicks, a box, a mask, scribbles and lassos, of a user or drawn in training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

ABSENT = -1  # the label of a point that is only padding
STROKES = ("scribbles", "lassos")  # the parts that are drawn, as images


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """Prompts for a batch of images, n = b·m: those of image i are rows i·m to (i+1)·m − 1.

    Any part may be absent from any row, and a row without any part is legal. Of volumes [d,h,w] there is a third
    coordinate, z, and a third axis wherever h and w are named: points are (x, y, z), boxes x0 y0 z0 x1 y1 z1.

    Args:
        points_xy: [n,c,2], clicks in pixels of the model's image.
        point_labels: [n,c]: 1 inside the target, 0 outside, ABSENT for padding.
        boxes_xyxy: [n,4] in pixels; a row of NaN is no box.
        mask_logits: [n,1,h,w] at the decoder's resolution; None where no row has a mask.
        has_mask: [n] bool, the rows whose mask counts.
        scribbles: [n,2,h,w] in {0,1}, of the model's image: the pixels of lines inside the target, then of lines
            outside. None where no row has one.
        lassos: [n,2,h,w], the areas within outlines: around the target, then around what is none of it.
    """

    points_xy: Tensor
    point_labels: Tensor
    boxes_xyxy: Tensor
    mask_logits: Tensor | None
    has_mask: Tensor
    scribbles: Tensor | None = None
    lassos: Tensor | None = None

    @staticmethod
    def none(count: int, *, device: torch.device, axes: int = 2) -> Prompt:
        """Return `count` empty prompts about images of 2 or 3 axes: the model segments what it was trained for.

        Each holds one absent click, as every first prompt in training does, because padding is a token of the decoder.
        """
        return Prompt(
            points_xy=torch.zeros(count, 1, axes, device=device),
            point_labels=torch.full((count, 1), ABSENT, device=device),
            boxes_xyxy=torch.full((count, 2 * axes), torch.nan, device=device),
            mask_logits=None,
            has_mask=torch.zeros(count, dtype=torch.bool, device=device),
        )

    def __len__(self) -> int:
        return self.points_xy.shape[0]

    @property
    def axes(self) -> int:
        """2 for prompts about images, 3 about volumes."""
        return self.points_xy.shape[-1]

    @property
    def beyond_boxes(self) -> Tensor:
        """Which rows [n] have a click or a mask, besides a box or without."""
        return (self.point_labels != ABSENT).any(1) | self.has_mask

    def on(self, device: torch.device) -> Prompt:
        """Return this prompt with its tensors on a device."""
        parts = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **parts)

    def with_boxes(self, boxes_xyxy: Tensor) -> Prompt:
        """Return this prompt with the boxes [n,4] in place of its own."""
        return replace(self, boxes_xyxy=boxes_xyxy)

    def with_clicks(self, points_xy: Tensor, labels: Tensor) -> Prompt:
        """Return this prompt with one more click each, [n,2] of `labels` [n], or c more, [n,c,2] of [n,c]."""
        if labels.ndim == 1:
            points_xy, labels = points_xy[:, None], labels[:, None]
        return replace(
            self,
            points_xy=torch.cat([self.points_xy, points_xy], dim=1),
            point_labels=torch.cat([self.point_labels, labels], dim=1),
        )

    def with_mask(self, mask_logits: Tensor) -> Prompt:
        """Return this prompt with the previous answer's logits [n,1,h,w] as its mask."""
        return replace(self, mask_logits=mask_logits, has_mask=torch.ones_like(self.has_mask))

    def with_scribbles(self, drawn: Tensor) -> Prompt:
        """Return this prompt with scribbles [n,2,h,w] besides its own."""
        return replace(self, scribbles=drawn if self.scribbles is None else torch.maximum(self.scribbles, drawn))

    def with_lassos(self, drawn: Tensor) -> Prompt:
        """Return this prompt with lassos [n,2,h,w] besides its own."""
        return replace(self, lassos=drawn if self.lassos is None else torch.maximum(self.lassos, drawn))

    def only_clicks(self, points_xy: Tensor, labels: Tensor) -> Prompt:
        """Return the clicks [n,c,2] of `labels` [n,c] in place of all but this prompt's mask."""
        return replace(self.only_mask(), points_xy=points_xy, point_labels=labels)

    def only_mask(self) -> Prompt:
        """Return this prompt's mask alone."""
        nothing = Prompt.none(len(self), device=self.points_xy.device, axes=self.axes)
        return replace(nothing, mask_logits=self.mask_logits, has_mask=self.has_mask)
