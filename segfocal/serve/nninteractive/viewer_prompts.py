"""What a viewer sends as points, boxes and painted voxels, as prompts that a session takes: kind and places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segfocal.serve.nninteractive.marked_voxels import MOST_VOXELS, lines_through, outlines
from segfocal.serve.nninteractive.viewer_messages import BoxForm, MarkedForm, PointForm
from segfocal.serve.refusal import Refused

Shape = tuple[int, ...]
Box = list[tuple[int, int]]  # of each axis the first voxel, and one past the last
_MOST_LASSOS = 256  # of one lasso or box, over slices
_DIRECTIONS = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}


@dataclass(frozen=True, kw_only=True)
class ViewerPrompt:
    """One thing that a user of a viewer drew.

    Args:
        kind: point, box, scribble or lasso, as a session names them.
        positive: whether it marks the structure, or what is none of it.
        pieces: each of some places, voxel indices in the viewer's axes; of a box edges of voxels.
    """

    kind: str
    positive: bool
    pieces: list[list[list[float]]]


@dataclass(frozen=True, kw_only=True)
class SeenImage:
    """How an image of a viewer meets the model.

    Args:
        shape: of its three axes.
        frame: three letters, where they are taken to point to.
        slice_axis: the one along which the model's slices run.
        volumes: whether the model looks at volumes, so that boxes through slices mean what they say.
    """

    shape: Shape
    frame: str
    slice_axis: int
    volumes: bool

    def prompt_of_point(self, form: PointForm) -> ViewerPrompt:
        """Return a click; Refused where it lies outside."""
        place = [float(np.floor(value + 0.5)) for value in form.coordinates]
        if any(not 0 <= value < side for value, side in zip(place, self.shape, strict=True)):
            raise _outside(f"{form.coordinates}", self.shape)
        return ViewerPrompt(kind="point", positive=form.include_interaction, pieces=[[place]])

    def prompt_of_box(self, form: BoxForm) -> ViewerPrompt:
        """Return a box, clipped to the image; one that marks what is no structure is a lasso on each of its slices.

        Raises:
            Refused: a box without an extent, outside, through several slices of a model that sees one at a time, or
                drawn on another plane than the model's slices.
        """
        box = self._inside(form.bbox_coords)
        sides = [high - low for low, high in box]
        if sides[self.slice_axis] > 1:
            if 1 in sides:
                raise self._other_plane("a box", sides)
            if not (self.volumes or form.override_capability_checks):
                raise Refused(
                    422,
                    expected=f"a box on one slice of axis {self.slice_axis}, for a model of slices",
                    found=f"one of {sides} voxels",
                    do="draw it on one slice: its answer is carried to the others",
                )
        if form.include_interaction:
            corners = [[low - 0.5 for low, _ in box], [high - 0.5 for _, high in box]]
            return ViewerPrompt(kind="box", positive=True, pieces=[corners])
        return ViewerPrompt(kind="lasso", positive=False, pieces=self._round_box(box))

    def prompt_of_scribble(self, marked: NDArray, form: MarkedForm) -> ViewerPrompt:
        """Return lines through the voxels of a scribble; Refused for voxels that are none or too many, or outside."""
        box = self._box_of(marked, form)
        voxels = np.argwhere(marked != 0)
        if not 1 <= len(voxels) <= MOST_VOXELS:
            expected = f"a scribble of 1 to {MOST_VOXELS:,} voxels"
            raise Refused(422, expected=expected, found=f"{len(voxels):,}", do="draw it with a thin brush")
        lines = lines_through(voxels + np.array([low for low, _ in box]))
        return ViewerPrompt(
            kind="scribble", positive=form.include_interaction, pieces=[line.tolist() for line in lines]
        )

    def prompt_of_lasso(self, marked: NDArray, form: MarkedForm) -> ViewerPrompt:
        """Return outlines of the region of a lasso on each slice; Refused as for boxes and scribbles."""
        box, inside = self._box_of(marked, form), marked != 0
        lines = [np.flatnonzero(inside.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        if not len(lines[0]):
            raise Refused(422, expected="a lasso round a voxel", found="none", do="draw it anew")
        sides = [int(line[-1] - line[0]) + 1 for line in lines]
        if sides[self.slice_axis] > 1 and 1 in sides:
            raise self._other_plane("a lasso", sides)
        start = [first for first, _ in box]
        offset = [start[axis] for axis in self._in_slice]
        pieces = self._on_slices(
            (
                (int(index) + start[self.slice_axis], np.take(inside, index, axis=self.slice_axis))
                for index in lines[self.slice_axis]
            ),
            offset,
        )
        return ViewerPrompt(kind="lasso", positive=form.include_interaction, pieces=pieces)

    @property
    def _in_slice(self) -> list[int]:
        """The two axes of a slice."""
        return [axis for axis in range(3) if axis != self.slice_axis]

    def _on_slices(
        self, regions: Iterable[tuple[int, NDArray[np.bool_]]], offset: Sequence[int]
    ) -> list[list[list[float]]]:
        """Return the outlines of regions, each with the index of its slice; offset: where they begin in a slice."""
        pieces = [
            np.insert(line + offset, self.slice_axis, index, axis=1).tolist()
            for index, region in regions
            for line in outlines(region)
        ]
        if len(pieces) > _MOST_LASSOS:
            expected = f"at most {_MOST_LASSOS} outlines"
            raise Refused(422, expected=expected, found=f"{len(pieces):,}", do="draw on fewer slices")
        return pieces

    def _round_box(self, box: Box) -> list[list[list[float]]]:
        """Return the outline of a box on each of its slices."""
        (y0, y1), (x0, x1) = (box[axis] for axis in self._in_slice)
        region = np.ones((y1 - y0, x1 - x0), dtype=bool)
        return self._on_slices(((index, region) for index in range(*box[self.slice_axis])), (y0, x0))

    def _box_of(self, marked: NDArray, form: MarkedForm) -> Box:
        """Return where an array of marked voxels lies; Refused where that is not the image."""
        if form.interaction_bbox is None:
            if marked.shape != self.shape:
                expected = f"an array of the image's shape {list(self.shape)}, or interaction_bbox"
                raise Refused(422, expected=expected, found=f"{list(marked.shape)}", do="send the part with its place")
            return [(0, side) for side in self.shape]
        box = [(round(low), round(high)) for low, high in form.interaction_bbox]
        if any(not 0 <= low < high <= side for (low, high), side in zip(box, self.shape, strict=True)):
            raise _outside(f"interaction_bbox {form.interaction_bbox}", self.shape)
        sides = [high - low for low, high in box]
        if list(marked.shape) != sides:
            expected = f"an array as large as its interaction_bbox, {sides}"
            raise Refused(422, expected=expected, found=f"{list(marked.shape)}", do="send the part that it names")
        return box

    def _inside(self, spans: Sequence[Sequence[float]]) -> Box:
        """Return the part of a box that lies in the image, in whole voxels."""
        box = [(round(low), round(high)) for low, high in spans]
        if any(low >= high for low, high in box):
            expected = "a box of at least one voxel along each axis, half-open"
            raise Refused(422, expected=expected, found=f"{[list(span) for span in spans]}", do="draw it anew")
        clipped = [(max(low, 0), min(high, side)) for (low, high), side in zip(box, self.shape, strict=True)]
        if any(low >= high for low, high in clipped):
            raise _outside(f"{[list(span) for span in spans]}", self.shape)
        return clipped

    def _other_plane(self, what: str, sides: Sequence[int]) -> Refused:
        drawn = next(axis for axis in range(3) if sides[axis] == 1)
        planes = [_DIRECTIONS[self.frame[axis]] for axis in (self.slice_axis, drawn)]
        return Refused(
            422,
            expected=f"{what} drawn on the model's slices, along axis {self.slice_axis} ({planes[0]})",
            found=f"one along axis {drawn} ({planes[1]})",
            do="draw it there, or use points or a scribble, which may be drawn on any plane",
        )


def _outside(found: str, shape: Shape) -> Refused:
    return Refused(
        422, expected=f"voxels inside the image of shape {list(shape)}", found=found, do="draw inside the image"
    )
