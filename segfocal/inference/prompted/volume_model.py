"""Asks a promptable model of volumes: a window about what a user marked, and more of them while the mask goes on.

Source: nnInteractive (Isensee et al., 2025) also centres a window on the prompt and follows the mask beyond it.
Differences: windows keep the model's voxels, and a further one sees half of what is known as its mask prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.inference.prompted.held_points import with_marks_held
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.scan_prompts import SlicePrompt
from segfocal.inference.prompted.touching import changed_about, near_box, touching
from segfocal.inference.prompted.volume_prompt import Size, VolumePrompt
from segfocal.models import PromptableModel
from segfocal.prompts import ABSENT, Prompt

MOST_WINDOWS = 64  # of a question
_RIM = 8  # of a window's side so many parts are not trusted where the volume goes on beyond it
_CERTAIN = 10.0  # the logit of a voxel that a user's mask marks

Corner = tuple[int, int, int]  # of a window, (z, y, x)


class Strokes(NamedTuple):
    """What is drawn in a scan, volumes [2,d,h,w] of inside and outside; None where there is nothing."""

    scribbles: Tensor | None
    lassos: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeModel:
    """A promptable model of volumes that answers about a scan.

    Args:
        image: [c,d,h,w] in [0,1], on the model's grid.
        model: answers prompts about windows of its `image_shape`.
        spacing_mm: of the image's axes d, h, w.
        change: "component": a mark changes the component alone that it touches; or "slice", all.
        device: where the model is.
    """

    image: Tensor
    model: PromptableModel
    spacing_mm: Sequence[float]
    change: str
    device: torch.device

    @property
    def size(self) -> Size:
        """Voxels (d, h, w) of the scan."""
        _, d, h, w = self.image.shape
        return d, h, w

    def ask(self, given: VolumePrompt, before: Tensor | None, *, watch: Callable[[], None] | None = None) -> Tensor:
        """Return logits [d,h,w] of what a user said of an object; OUTSIDE where nothing was asked.

        A mark inside holds, as does one outside (`with_marks_held`). A slice with a mask is that mask. With a box, a
        lasso or a mask those components count that touch it or a mark inside; on slices with a box, nothing beyond its
        margin. Marks alone count in all their pieces.

        Args:
            given: what the user said.
            before: the answer before the last mark, of which that mark changes only the components it is about.
            watch: is called before each window, and may end it all by raising.
        """
        if not given.can_be_asked:
            return torch.full(self.size, OUTSIDE)
        known = before if before is not None and (before > 0).any() else None
        canvas = torch.full(self.size, OUTSIDE) if known is None else known.clone()
        fresh = torch.zeros(self.size, dtype=torch.bool)  # answered to this question
        strokes = Strokes(given.drawn("scribbles", self.size), given.drawn("lassos", self.size))
        windows, asked = deque([self._first(given, known)]), set[Corner]()
        while windows and len(asked) < MOST_WINDOWS:
            corner = windows.popleft()
            if corner in asked:
                continue
            if watch:
                watch()
            prompt = self._prompt(corner, given, strokes)
            logits = self._window(corner, prompt, canvas).clamp(min=OUTSIDE + 1)
            part, inner = self._part(corner, None)  # of its rim counts where there is nothing
            canvas[part] = torch.where(canvas[part] > OUTSIDE, canvas[part], logits[inner].clamp(max=0.0))
            part, inner = self._part(corner, _RIM)
            canvas[part] = torch.where(fresh[part], canvas[part], logits[inner])
            fresh[part] = True
            asked.add(corner)
            windows.extend(self._beyond(part, canvas, known, fresh))
        return self._holding(canvas, given, before)

    def joined(self, answers: Sequence[Tensor], marks: Sequence[SlicePrompt]) -> Tensor:
        """Return the larger of logits [d,h,w] of objects of a structure, in which all its marks hold."""
        canvas = torch.stack([*answers]).amax(0)
        for z in {mark.slice for mark in marks}:
            own = [mark for mark in marks if mark.slice == z]
            canvas[z] = with_marks_held(canvas[z], own, spacing_mm=self.spacing_mm[1:])
        return canvas

    def _first(self, given: VolumePrompt, known: Tensor | None) -> Corner:
        """Return the window about what is new: the last mark, where there is an answer to correct, else all of it."""
        mark = None if known is None else given.last_mark
        if mark is None:
            return self._around(given.middle(self.size))
        x, y = (sum(axis) / len(mark.points) for axis in zip(*mark.points, strict=True))
        return self._around((mark.slice, y, x))

    def _around(self, middle: Sequence[float]) -> Corner:
        """Return the window centred on (z, y, x), as far as the volume's border lets it."""
        z, y, x = (
            min(max(round(place + 0.5 - side / 2), 0), max(0, size - side))
            for place, side, size in zip(middle, self.model.image_shape, self.size, strict=True)
        )
        return z, y, x

    def _part(self, corner: Corner, rims: int | None) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the part of the volume that a window sees, and the same in the window.

        Where the volume goes on beyond it, a rim is left out, of which `rims` fill a side; None leaves out nothing.
        """
        part = []
        for start, side, size in zip(corner, self.model.image_shape, self.size, strict=True):
            rim = side // rims if rims else 0
            part.append(slice(start + rim * (start > 0), min(start + side - rim * (start + side < size), size)))
        inner = tuple(slice(o.start - start, o.stop - start) for o, start in zip(part, corner, strict=True))
        return tuple(part), inner

    def _beyond(self, part: tuple[slice, ...], canvas: Tensor, known: Tensor | None, fresh: Tensor) -> Iterator[Corner]:
        """Yield the windows about where a mask meets the border of a part and goes on where nothing was answered.

        Where there is an answer to correct, that is where the mask is not as it was.
        """
        for axis, (edge, step) in product(range(3), ((0, -1), (-1, 1))):
            line = part[axis].start if edge == 0 else part[axis].stop - 1
            if not 0 <= line + step < self.size[axis]:
                continue
            face = [*part]
            face[axis] = slice(line, line + 1)
            next_to = [*part]
            next_to[axis] = slice(line + step, line + step + 1)
            goes_on = inside = canvas[tuple(face)] > 0
            if known is not None:
                changed = inside != (known[tuple(face)] > 0)
                goes_on = changed | (inside & (known[tuple(next_to)] == OUTSIDE))
            goes_on = goes_on & ~fresh[tuple(next_to)]
            if goes_on.any():
                low = torch.tensor([side.start for side in face])
                yield self._around((goes_on.nonzero().double().mean(0) + low).tolist())

    def _window(self, corner: Corner, prompt: Prompt, canvas: Tensor) -> Tensor:
        """Return the model's logits [d,h,w] of a window, shown what is known of it as a mask."""
        image, known = self._crop(self.image, corner), self._crop(canvas[None], corner, fill=OUTSIDE)
        if (known > OUTSIDE).any():
            prompt = prompt.with_mask(torch.where(known > OUTSIDE, known, 0.0)[None])
        embedding = self.model.encode(image[None].to(self.device))
        return self.model.answer(embedding, prompt.on(self.device)).logits[0, 0].float().cpu()

    def _prompt(self, corner: Corner, given: VolumePrompt, strokes: Strokes) -> Prompt:
        shift = torch.tensor([corner[2], corner[1], corner[0]], dtype=torch.float32)
        sides = torch.tensor(self.model.image_shape[::-1], dtype=torch.float32)
        prompt = Prompt.none(1, device=torch.device("cpu"), axes=3)
        points = given.points_xyz - shift
        if len(points):
            within = ((points >= -0.5) & (points < sides - 0.5)).all(1)
            prompt = prompt.with_clicks(points[None], torch.where(within, given.point_labels, ABSENT)[None])
        box = given.box(self.size[0])
        if box is not None:
            low, high = (box[:3] - shift).clamp(min=0), torch.minimum(box[3:] - shift, sides)
            if (high > low).all():
                prompt = prompt.with_boxes(torch.cat([low, high])[None])
        if strokes.scribbles is not None:
            prompt = prompt.with_scribbles(self._crop(strokes.scribbles, corner)[None])
        if strokes.lassos is not None:
            prompt = prompt.with_lassos(self._crop(strokes.lassos, corner)[None])
        return prompt

    def _crop(self, volume: Tensor, corner: Corner, *, fill: float = 0.0) -> Tensor:
        """Return the part [c,*window] of a volume [c,d,h,w], beyond its end `fill`: of images 0, as in training."""
        seen = volume.new_full((len(volume), *self.model.image_shape), fill)
        part = volume[(slice(None), *[slice(a, a + side) for a, side in zip(corner, seen.shape[1:], strict=True)])]
        seen[tuple(slice(0, side) for side in part.shape)] = part
        return seen

    def _holding(self, canvas: Tensor, given: VolumePrompt, before: Tensor | None) -> Tensor:
        """Return logits [d,h,w] of which all is true that the user said."""
        for z, mask in given.settled.items():
            canvas[z] = (2 * mask - 1) * _CERTAIN if mask.any() else OUTSIDE
        for z in {mark.slice for mark in given.marks} | set(given.regions):
            marks = [mark for mark in given.marks if mark.slice == z]
            own = with_marks_held(canvas[z], marks, spacing_mm=self.spacing_mm[1:])
            inside = [mark.pixels(self.size[1:]) for mark in marks if mark.inside]
            marked = torch.stack(inside).any(0) if inside else None
            boxes = given.regions.get(z, [])
            near = [near_box(own, torch.tensor(box, dtype=torch.float32), marked) for box in boxes]
            canvas[z] = torch.stack(near).amax(0) if near else own
        if given.regions or given.masks:
            found = canvas > 0
            canvas = torch.where(~found | touching(found, given.held(self.size)), canvas, OUTSIDE)
        mark = given.last_mark
        if before is not None and mark is not None and self.change == "component":
            canvas = changed_about(before, canvas, given.about(mark, self.size))
        return canvas
