"""Asks a promptable model about one slice: with a user's prompts, or with what the slice beside it was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.inference.prompted.answer_cache import SliceAnswer
from segfocal.inference.prompted.combined_prompt import CombinedPrompt
from segfocal.inference.prompted.held_points import with_marks_held
from segfocal.inference.prompted.prompt_windows import OUTSIDE, PromptWindow, crop, paste, windows_around
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.touching import changed_about, near_box, touching
from segfocal.inference.prompted.zoom import grown, meets_border, resized, seen, seen_lines, side_for, zoom_of
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

    def ask(
        self, z: int, given: CombinedPrompt, propagated: Tensor | None, before: Tensor | None = None
    ) -> SliceAnswer:
        """Answer a user's prompts about a slice, with the logits propagated to it, if any.

        A mask without marks is the answer itself. With neither box nor lasso nor mask nor mark inside the model is not
        asked. Marks hold in the answer (`with_marks_held`). Of the answer to a box or lasso the components count that
        touch it or hold a mark inside; answers to marks alone, and to a mask with marks, count in all their pieces.

        Args:
            z: the slice.
            given: what the user gave on it.
            propagated: logits [h,w] from its neighbour.
            before: the answer [h,w] to all but the last mark: of it only the components change that this mark is about.
        """
        if given.mask is not None:
            propagated = (2 * given.mask - 1) * _CERTAIN
            if not given.marks:
                return self._first(z, propagated)
        if propagated is not None and not (propagated > 0).any():
            propagated = None
        region = None if given.region_xyxy is None else torch.tensor(given.region_xyxy, dtype=torch.float32)
        if region is None and propagated is not None:
            region = self._around(propagated > 0, given)
        if region is None and not given.inside_xy:
            return SliceAnswer.nothing()
        earlier = before if before is not None and (before > 0).any() else propagated
        logits = self._logits(z, region, given, propagated, earlier)[0]
        logits = with_marks_held(logits, [*given.forbidden, *given.marks], spacing_mm=self.spacing_mm[1:])
        if given.region_xyxy is not None:
            logits = near_box(
                logits, torch.tensor(given.region_xyxy, dtype=torch.float32), given.marked_inside(self.size)
            )
        before = propagated if before is None else before
        if before is not None and given.added and self.options.change == "component":
            logits = changed_about(before, logits, given.added[-1][0].pixels(self.size))
        return self._first(z, logits)

    def propagate(self, z: int, previous: SliceAnswer) -> SliceAnswer:
        """Answer what is propagated to a slice from the one beside it; only what touches that one's mask is kept."""
        before = previous.canvas(self.size)
        logits, predicted_iou = self._logits(
            z, self._around(before > 0, CombinedPrompt()), CombinedPrompt(), before, before
        )
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
        """Return the box [4] around a mask [h,w] with a margin, which holds the marks inside too."""
        h, w = self.size
        mm = torch.tensor([self.spacing_mm[2], self.spacing_mm[1]])
        margin = self.options.margin_mm / mm
        x0y0, x1y1 = boxes_of(inside[None, None])[0].reshape(2, 2)
        for xy in torch.tensor(given.inside_xy, dtype=torch.float32).reshape(-1, 2):
            x0y0, x1y1 = torch.minimum(x0y0, xy), torch.maximum(x1y1, xy + 1)
        return torch.cat([(x0y0 - margin).clamp(min=0), torch.minimum(x1y1 + margin, torch.tensor([w, h]))])

    def _logits(
        self, z: int, box: Tensor | None, given: CombinedPrompt, propagated: Tensor | None, earlier: Tensor | None
    ) -> tuple[Tensor, float]:
        """Return the model's logits [h,w] and the least predicted IoU of its windows.

        With a zoom, windows are in proportion to what is asked about, and grow while the mask meets their border; not
        so about a drawn box, of whose answer nothing counts that is as far from it.

        Args:
            z: the slice.
            box: around what is asked about; the model gets it where the user drew it, or where boxes are propagated.
            given: what the user said of the slice.
            propagated: logits [h,w] from other slices, of which a point is made where points are propagated.
            earlier: logits [h,w] that are shown as a mask where masks are propagated: the answer before the last mark,
                else what is propagated.
        """
        drawn = given.box_xyxy is not None or given.region_xyxy is not None
        boxed = given.box_xyxy is not None or (box is not None and not drawn and "box" in self.options.parts)
        region, zoom = _box_around(given) if box is None else box, zoom_of(self.model, self.options.zoom)
        own, largest = self.model.image_size, max(self.size)
        side = own if box is None else side_for(region, zoom, own=own, size=self.size)
        while True:
            windows = windows_around(0, z, region, self.size, side, around=self._placed(region, side))
            prompt = self._prompt(windows, boxed, given, propagated, earlier)
            canvas, predicted_iou = self._seen(windows, prompt)
            if zoom is None or drawn or side >= largest or not meets_border(canvas > 0, windows):
                return canvas, predicted_iou
            side = grown(side, self.size)

    def _prompt(
        self,
        windows: Sequence[PromptWindow],
        boxed: bool,
        given: CombinedPrompt,
        propagated: Tensor | None,
        earlier: Tensor | None,
    ) -> Prompt:
        """Return the prompt of each window of one slice; arguments as of `_logits`."""
        own, parts = self.model.image_size, self.options.parts
        prompt = _clicks_and_boxes(windows, given, propagated if "point" in parts else None, boxed=boxed, own=own)
        if earlier is not None and "mask" in parts:
            prompt = prompt.with_mask(self._mask_prompt(windows, earlier))
        return self._with_strokes(prompt, windows, given)

    def _seen(self, windows: Sequence[PromptWindow], prompt: Prompt) -> tuple[Tensor, float]:
        """Return what the model says of windows of one slice, as `_logits` does."""
        crops = seen(self.image[:, windows[0].z], windows, self.model.image_size).to(self.device)
        answer = self.model.answer(self.encode(crops), prompt.on(self.device))
        canvas = torch.full(self.size, OUTSIDE)
        for window, logits in zip(windows, answer.logits[:, 0].float().cpu(), strict=True):
            paste(canvas, window, resized(logits[None], window.weights.shape[0])[0])
        return canvas, float(answer.predicted_iou.min())

    def _placed(self, region: Tensor, side: int) -> Tensor:
        """Return a box around a region with corners on a coarse lattice, where that is no larger than a window."""
        step = max(1, side // _STEPS)
        placed = torch.cat([(region[:2] / step).floor(), (region[2:] / step).ceil()]) * step
        return placed if (placed[2:] - placed[:2] <= side).all() else region

    def _with_strokes(self, prompt: Prompt, windows: Sequence[PromptWindow], given: CombinedPrompt) -> Prompt:
        """Return the prompt of each window with what it sees of scribbles and lassos."""
        scribbles, lassos, own = (
            given.drawn("scribbles", self.size),
            given.drawn("lassos", self.size),
            self.model.image_size,
        )
        if scribbles is not None:
            prompt = prompt.with_scribbles(seen_lines(scribbles, windows, own))
        if lassos is not None:
            prompt = prompt.with_lassos((seen(lassos, windows, own) > 0.5).float())
        return prompt

    def _mask_prompt(self, windows: Sequence[PromptWindow], propagated: Tensor) -> Tensor:
        """Return logits [n,1,h,w] of what windows see of a slice, as large as the decoder takes masks."""
        seen = torch.stack([crop(propagated[None], window, fill=OUTSIDE) for window in windows])
        return F.interpolate(seen, size=self.model.mask_size, mode="bilinear", align_corners=False, antialias=True)


def _clicks_and_boxes(
    windows: Sequence[PromptWindow], given: CombinedPrompt, propagated: Tensor | None, *, boxed: bool, own: int
) -> Prompt:
    """Return the prompt of each window, as in training: with clicks a box comes first, or they are alone.

    Args:
        windows: of one side.
        given: what the user said of the slice.
        propagated: a mask's logits [h,w] of which a point is made where none is given.
        boxed: whether the windows' boxes are shown.
        own: the model's side, in whose pixels the prompt is.
    """
    points_xy, labels = _points(given, propagated)
    corners = torch.tensor([[window.left, window.top] for window in windows], dtype=torch.float32)
    scale = own / windows[0].weights.shape[0]
    places = (points_xy[None] - corners[:, None] + 0.5) * scale - 0.5
    inside = ((places >= -0.5) & (places < own - 0.5)).all(-1)
    own_labels = torch.where(inside, labels, ABSENT)
    prompt = Prompt.none(len(windows), device=torch.device("cpu"))
    if boxed:
        prompt = prompt.with_boxes(torch.stack([window.box for window in windows]) * scale)
        return prompt.with_clicks(places, own_labels) if len(points_xy) else prompt
    return prompt.only_clicks(places, own_labels) if len(points_xy) else prompt


def _box_around(given: CombinedPrompt) -> Tensor:
    """Return the box [4] around the points and scribbles of a prompt."""
    points = torch.tensor(
        [xy for mark in given.marks if mark.lasso_xy is None for xy in mark.points], dtype=torch.float32
    )
    return torch.cat([points.amin(0), points.amax(0) + 1])


def _points(given: CombinedPrompt, propagated: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return points xy [n,2] and labels [n]: those given, without marks the pixel deepest inside a mask [h,w]."""
    if given.marks or propagated is None:
        return torch.tensor(given.points_xy, dtype=torch.float32).reshape(-1, 2), torch.tensor(
            given.point_labels, dtype=torch.long
        )
    inside = propagated > 0
    y, x = divmod(int(depth_of(inside[None]).flatten().argmax()), inside.shape[1])
    return torch.tensor([[float(x), float(y)]]), torch.ones(1, dtype=torch.long)


def _connected(now: Tensor, before: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return the components of a mask [h,w] that come within `reach` pixels (h, w) of the mask before it."""
    window = (2 * reach[0] + 1, 2 * reach[1] + 1)
    return touching(now, F.max_pool2d(before[None, None].float(), window, stride=1, padding=reach)[0, 0] > 0)
