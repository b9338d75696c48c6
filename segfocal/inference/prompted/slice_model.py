"""Asks a promptable model about one slice: with a user's prompts, or with what the slice beside it was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.inference.prompted.answer_cache import SliceAnswer
from segfocal.inference.prompted.held_points import with_points_held
from segfocal.inference.prompted.prompt_windows import OUTSIDE, PromptWindow, crop, paste, windows_around
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import CombinedPrompt
from segfocal.inference.prompted.touching import near_box, touching
from segfocal.models import PromptableModel
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import ABSENT, Prompt, boxes_of, depth_of

_CERTAIN = 10.0  # the logit of a pixel that a user's mask marks
_STEPS = 8  # windows stand at so many places a side, so that neighbouring boxes see the same embedding


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceModel:
    """A promptable model that answers about the slices of a scan.

    Args:
        image: [c,d,h,w] in [0,1], on the model's grid.
        model: answers prompts.
        encode: makes embeddings of windows [n,c,side,side]: the model's own, or one that remembers them.
        spacing_mm: of the image's axes d, h, w.
        options: what is propagated, and how far.
        device: where the model is.
    """

    image: Tensor
    model: PromptableModel
    encode: Callable[[Tensor], Embedding]
    spacing_mm: tuple[float, float, float]
    options: PropagationOptions
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (h, w) of a slice."""
        return self.image.shape[2], self.image.shape[3]

    def ask(self, z: int, given: CombinedPrompt, propagated: Tensor | None) -> SliceAnswer:
        """Answer a user's prompts about a slice, with the logits [h,w] propagated to it, if any.

        A mask without points is the answer itself. With neither box nor mask nor inside point the model is not asked.
        Points hold in the answer (`with_points_held`). Of the answer to a box the components count that touch it or
        hold an inside point; answers to points alone, and to a mask with points, count in all their pieces.
        """
        if given.mask is not None:
            propagated = (2 * given.mask - 1) * _CERTAIN
            if not given.points_xy:
                return self._first(z, propagated)
        if propagated is not None and not (propagated > 0).any():
            propagated = None
        box = None if given.box_xyxy is None else torch.tensor(given.box_xyxy)
        if box is None and propagated is not None:
            box = self._around(propagated > 0, given)
        if box is None and 1 not in given.point_labels:
            return SliceAnswer.nothing()
        logits = self._logits(z, box, given, propagated)[0]
        points, labels = [*given.forbidden_xy, *given.points_xy], [0] * len(given.forbidden_xy) + given.point_labels
        logits = with_points_held(logits, points, labels, spacing_mm=self.spacing_mm[1:])
        if given.box_xyxy is not None:
            points = [xy for xy, label in zip(given.points_xy, given.point_labels, strict=True) if label]
            logits = near_box(logits, torch.tensor(given.box_xyxy), points)
        return self._first(z, logits)

    def propagate(self, z: int, previous: SliceAnswer) -> SliceAnswer:
        """Answer what is propagated to a slice from the one beside it; only what touches that one's mask is kept."""
        before = previous.canvas(self.size)
        logits, predicted_iou = self._logits(z, self._around(before > 0, CombinedPrompt()), CombinedPrompt(), before)
        connected = _connected(logits > 0, before > 0, self._margin())
        logits = torch.where(connected | (logits <= 0), logits, OUTSIDE)
        if not connected.any() or predicted_iou < (self.options.min_iou or -np.inf):
            return SliceAnswer.nothing()
        change = abs(self._mean(z, logits > 0) - previous.reference)
        if change > self.options.max_intensity_change or self._breaks_off(logits, before > 0):
            return SliceAnswer.nothing()
        return SliceAnswer.cut(logits, previous.reference)

    def _first(self, z: int, logits: Tensor) -> SliceAnswer:
        """Return the answer of a prompted slice, from which its mask's intensity is handed on."""
        inside = logits > 0
        return SliceAnswer.cut(logits, self._mean(z, inside)) if inside.any() else SliceAnswer.nothing()

    def _mean(self, z: int, inside: Tensor) -> float:
        return float(self.image[:, z, inside].mean())

    def _breaks_off(self, logits: Tensor, before: Tensor) -> bool:
        """Return whether a mask is too small, too vague or too unlike the mask [h,w] before it."""
        now, options = logits > 0, self.options
        area, area_before = int(now.sum()), int(before.sum())
        stability = int((logits > 1).sum()) / max(int((logits > -1).sum()), 1)
        return (
            area * self.spacing_mm[1] * self.spacing_mm[2] < options.min_area_mm2
            or stability < options.min_stability
            or 2 * int((now & before).sum()) < options.min_overlap * (area + area_before)
            or max(area, area_before) > options.max_area_change * min(area, area_before)
        )

    def _margin(self) -> tuple[int, int]:
        """Return the margin in whole pixels (h, w), at least 1."""
        return tuple(max(1, round(self.options.margin_mm / mm)) for mm in self.spacing_mm[1:])  # type: ignore[return-value]

    def _around(self, inside: Tensor, given: CombinedPrompt) -> Tensor:
        """Return the box [4] around a mask [h,w] with a margin, which holds the inside points too."""
        h, w = self.size
        mm = torch.tensor([self.spacing_mm[2], self.spacing_mm[1]])
        margin = self.options.margin_mm / mm
        x0y0, x1y1 = boxes_of(inside[None, None])[0].reshape(2, 2)
        points = [xy for xy, label in zip(given.points_xy, given.point_labels, strict=True) if label]
        for xy in torch.tensor(points).reshape(-1, 2):
            x0y0, x1y1 = torch.minimum(x0y0, xy), torch.maximum(x1y1, xy + 1)
        return torch.cat([(x0y0 - margin).clamp(min=0), torch.minimum(x1y1 + margin, torch.tensor([w, h]))])

    def _logits(
        self, z: int, box: Tensor | None, given: CombinedPrompt, propagated: Tensor | None
    ) -> tuple[Tensor, float]:
        """Return the model's logits [h,w] and the least predicted IoU of its windows.

        box: around what is asked about; the model gets it where the user drew it, or where boxes are propagated.
        """
        parts = self.options.parts
        region = _box_around(given) if box is None else box
        windows = windows_around(0, z, region, self.size, self.model.image_size, around=self._placed(region))
        crops = torch.stack([crop(self.image[:, z], window) for window in windows]).to(self.device)
        boxed = given.box_xyxy is not None or (box is not None and "box" in parts)
        prompt = _prompt(windows, given, propagated if "point" in parts else None, boxed=boxed)
        if propagated is not None and "mask" in parts:
            prompt = prompt.with_mask(self._mask_prompt(windows, propagated))
        answer = self.model.answer(self.encode(crops), _moved(prompt, self.device))
        canvas = torch.full(self.size, OUTSIDE)
        for window, logits in zip(windows, answer.logits[:, 0].float().cpu(), strict=True):
            paste(canvas, window, logits)
        return canvas, float(answer.predicted_iou.min())

    def _placed(self, region: Tensor) -> Tensor:
        """Return a box around a region with corners on a coarse lattice, where that is no larger than a window."""
        side = self.model.image_size
        step = max(1, side // _STEPS)
        placed = torch.cat([(region[:2] / step).floor(), (region[2:] / step).ceil()]) * step
        return placed if (placed[2:] - placed[:2] <= side).all() else region

    def _mask_prompt(self, windows: Sequence[PromptWindow], propagated: Tensor) -> Tensor:
        """Return logits [n,1,h,w] of what windows see of a slice, as large as the decoder takes masks."""
        seen = torch.stack([crop(propagated[None], window, fill=OUTSIDE) for window in windows])
        return F.interpolate(seen, size=self.model.mask_size, mode="bilinear", align_corners=False, antialias=True)


def _prompt(
    windows: Sequence[PromptWindow], given: CombinedPrompt, propagated: Tensor | None, *, boxed: bool
) -> Prompt:
    """Return the prompt of each window, as in training: with clicks a box comes first, or they are alone.

    propagated is a mask's logits [h,w] of which a point is made where none is given.
    """
    points_xy, labels = _points(given, propagated)
    corners = torch.tensor([[window.left, window.top] for window in windows], dtype=torch.float32)
    own = points_xy[None] - corners[:, None]
    side = windows[0].weights.shape[0]
    seen = ((own >= -0.5) & (own < side - 0.5)).all(-1)
    own_labels = torch.where(seen, labels, ABSENT)
    prompt = Prompt.none(len(windows), device=torch.device("cpu"))
    if boxed:
        prompt = prompt.with_boxes(torch.stack([window.box for window in windows]))
        return prompt.with_clicks(own, own_labels) if len(points_xy) else prompt
    return prompt.only_clicks(own, own_labels) if len(points_xy) else prompt


def _moved(prompt: Prompt, device: torch.device) -> Prompt:
    """Return a prompt with its tensors on a device."""
    return replace(prompt, **{name: value.to(device) for name, value in vars(prompt).items() if value is not None})


def _box_around(given: CombinedPrompt) -> Tensor:
    """Return the box [4] around the points of a prompt."""
    points = torch.tensor(given.points_xy)
    return torch.cat([points.amin(0), points.amax(0) + 1])


def _points(given: CombinedPrompt, propagated: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return points xy [n,2] and labels [n]: those given, else the pixel deepest inside a propagated mask [h,w]."""
    if given.points_xy or propagated is None:
        return torch.tensor(given.points_xy).reshape(-1, 2), torch.tensor(given.point_labels, dtype=torch.long)
    inside = propagated > 0
    y, x = divmod(int(depth_of(inside[None]).flatten().argmax()), inside.shape[1])
    return torch.tensor([[float(x), float(y)]]), torch.ones(1, dtype=torch.long)


def _connected(now: Tensor, before: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return the components of a mask [h,w] that come within `reach` pixels (h, w) of the mask before it."""
    window = (2 * reach[0] + 1, 2 * reach[1] + 1)
    return touching(now, F.max_pool2d(before[None, None].float(), window, stride=1, padding=reach)[0, 0] > 0)
