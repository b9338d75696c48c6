"""What one viewer has: an image, a session about it, and the mask as the viewer knows it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segfocal.inference.segment import check_channels
from segfocal.serve.mask import takes_prompts
from segfocal.serve.nninteractive.capabilities import sees_volumes
from segfocal.serve.nninteractive.viewer_axes import in_world
from segfocal.serve.nninteractive.viewer_image import volume_of
from segfocal.serve.nninteractive.viewer_messages import ImageProperties, TargetForm
from segfocal.serve.nninteractive.viewer_prompts import SeenImage, ViewerPrompt
from segfocal.serve.refusal import Refused
from segfocal.serve.session import Session
from segfocal.serve.sessions import Sessions
from segfocal.structure import Structure

TARGETS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")  # types of a target buffer


@dataclass(frozen=True, kw_only=True)
class Patch:
    """What a call did to the viewer's mask.

    Args:
        ran: whether anything was answered or taken back.
        box: of each of the viewer's axes the first voxel that changed and one past the last; None where none did.
        values: of the voxels in the box, 1 inside the structure.
    """

    ran: bool
    box: list[list[int]] | None = None
    values: NDArray | None = None


NOTHING = Patch(ran=False)


@dataclass(kw_only=True)
class _Opened:
    """An image that was opened.

    Args:
        session: the id of its session.
        scan: the id of its scan.
        structure: that is drawn.
        image: as prompts are understood on it.
        target: the type of the viewer's mask; None before it said.
        known: the revision of the session that the viewer's mask is of; None: it knows nothing.
        waiting: prompts that were not answered yet.
        marks: how many actions of the session counted before each prompt that was answered.
    """

    session: str
    scan: str
    structure: Structure
    image: SeenImage
    target: np.dtype | None = None
    known: int | None = 0
    waiting: list[ViewerPrompt] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


class ViewerSession:
    """The state of one viewer. Its calls take long and are not safe to run at the same time: one thread makes them.

    carries: whether answers are carried to the slices beside them (the viewer's auto-zoom).
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions, self.carries = sessions, True
        self._opened: _Opened | None = None

    def open(self, image: NDArray, properties: ImageProperties, *, name: str) -> tuple[int, ...]:
        """Begin with an image [c,…]; what was before is forgotten. Return its shape.

        Args:
            image: of some channels; three axes follow.
            properties: what the viewer says of it.
            name: for the list of scans.

        Raises:
            Refused: an orientation or structure that is none, a server that is full.
            UserError: another number of channels than the bundle's, voxels that are not finite.
        """
        bundle = self.sessions.predictor.bundle
        check_channels(bundle, len(image), do="send the channels that the bundle was trained on")
        structure = self._structure(properties.structure)
        volume = volume_of(image, properties, frame=bundle.grid.frame, said=self.sessions.options.viewer_axes)
        self.close()
        scan = self.sessions.scans.add_array(volume, name).id
        try:
            session = self.sessions.open(scan)
            session.prepare()
        except BaseException:
            self._forget(scan, self.sessions.of_scan(scan))
            raise
        frame = volume.grid.frame[::-1]
        seen = SeenImage(
            shape=image.shape[1:],
            frame=frame,
            slice_axis=2 - session.slice_axis,
            volumes=sees_volumes(self.sessions.predictor),
        )
        self._opened = _Opened(session=session.id, scan=scan, structure=structure, image=seen)
        return image.shape

    def close(self) -> None:
        """Forget the image and all that was drawn on it."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._forget(opened.scan, opened.session)

    @property
    def image(self) -> SeenImage:
        """The image, as prompts are understood on it; Refused before there is one."""
        return self._there.image

    def set_target(self, form: TargetForm) -> None:
        """Note the viewer's mask, which is then all zeros; Refused for another shape or type."""
        opened = self._there
        if tuple(form.shape) != opened.image.shape:
            expected = f"a target buffer of the image's shape {list(opened.image.shape)}"
            raise Refused(422, expected=expected, found=f"{form.shape}", do="make it with the image")
        if form.dtype not in TARGETS:
            expected = f"a target buffer of {', '.join(TARGETS)}"
            raise Refused(422, expected=expected, found=repr(form.dtype)[:60], do="make it of uint8")
        opened.target = np.dtype(form.dtype)
        opened.known = None if self._session.standing.asking else self._session.revision

    def add(self, prompt: ViewerPrompt, *, run: bool) -> Patch:
        """Take a prompt and answer it, or with run=False let it wait."""
        opened = self._ready()
        self._check_promptable()
        opened.waiting.append(prompt)
        return self._answer(carry=self.carries) if run else NOTHING

    def begin_with(self, mask: NDArray, *, run: bool) -> Patch:
        """Begin anew with a mask, which the viewer has already laid into its own; its ends are not carried further.

        Raises:
            Refused: another shape than the image's, a bundle that takes no prompts.
        """
        opened, session = self._ready(), self._session
        if mask.shape != opened.image.shape:
            expected = f"a mask of the image's shape {list(opened.image.shape)}"
            raise Refused(422, expected=expected, found=f"{list(mask.shape)}", do="resample it")
        self._check_promptable()
        self.reset()
        inside = mask.transpose() != 0
        if inside.any():
            session.add_mask(opened.structure.name, inside)
            self._end_beside(inside)
        opened.known = session.revision
        return self._answer(carry=self.carries) if run else NOTHING

    def predict(self) -> Patch:
        """Answer the prompts that wait and carry answers on; without any prompt segment the whole image."""
        opened, session = self._ready(), self._session
        if opened.waiting or session.standing.asking:
            return self._answer(carry=True)
        if self.sessions.predictor.bundle.needs_prompts:
            return NOTHING
        opened.marks.append(session.history.done)
        session.predict()
        return self._patch()

    def _answer(self, *, carry: bool) -> Patch:
        """Answer the prompts that wait, and carry answers on or not."""
        opened, session = self._there, self._session
        while opened.waiting:
            mark, prompt = session.history.done, opened.waiting.pop(0)
            try:
                self._draw(prompt)
            except BaseException:
                self._back_to(mark)
                raise
            opened.marks.append(mark)
        if carry:
            self._carry()
        return self._patch()

    def undo(self) -> Patch:
        """Take the last prompt back; a mask that was begun with stays."""
        opened = self._ready()
        if opened.waiting:
            opened.waiting.pop()
            return Patch(ran=True)
        if not opened.marks:
            return NOTHING
        self._back_to(opened.marks.pop())
        if self.carries:
            self._carry()
        return self._patch()

    def reset(self) -> None:
        """Take all prompts away; the viewer's mask is then all zeros."""
        opened, session = self._there, self._session
        opened.waiting.clear()
        opened.marks.clear()
        if session.standing.asking:
            session.reset()
        opened.known = session.revision

    @property
    def _there(self) -> _Opened:
        if self._opened is None:
            raise Refused(422, expected="an image first", found="none", do="call set_image")
        return self._opened

    def _ready(self) -> _Opened:
        opened = self._there
        if opened.target is None:
            raise Refused(422, expected="a target buffer first", found="none", do="call set_target_buffer")
        return opened

    @property
    def _session(self) -> Session:
        try:
            return self.sessions.find(self._there.session)
        except Refused as error:
            if error.status != 404:
                raise
            found = "one that was deleted"  # by a page, say
            raise Refused(410, expected="the session of a viewer", found=found, do="connect again") from error

    def _structure(self, name: str | None) -> Structure:
        structures = self.sessions.predictor.bundle.structures
        found = [one for one in structures if name in (None, one.name)]
        if not found:
            names = " or ".join(one.name for one in structures)
            raise Refused(422, expected=f"structure {names}", found=repr(name)[:60], do="name one of them")
        return found[0]

    def _check_promptable(self) -> None:
        if not takes_prompts(self.sessions.predictor):
            raise Refused(
                422,
                expected="a bundle of a promptable model for prompts",
                found=type(self.sessions.predictor.bundle.model).__name__,
                do="predict without a prompt, or serve a promptable model",
            )

    def _draw(self, prompt: ViewerPrompt) -> None:
        session, name = self._session, self._there.structure.name
        for piece in prompt.pieces:
            session.add_prompt(prompt.kind, name, in_world(piece, session.grid), positive=prompt.positive)

    def _carry(self) -> None:
        """Carry answers to the slices beside them, where that is not done."""
        session = self._session
        standing = session.standing
        carried = standing.reach_mm is None and not standing.pending
        if standing.asking and not carried and takes_prompts(self.sessions.predictor):
            session.carry(None)

    def _end_beside(self, inside: NDArray) -> None:
        """Say that there is nothing on the unmarked slices beside marked ones: a mask ends where it ends."""
        session, axis = self._session, self._session.slice_axis
        marked = np.pad(inside.any(tuple({0, 1, 2} - {axis})), 1)
        beside = np.flatnonzero(~marked[1:-1] & (marked[:-2] | marked[2:]))
        for index in beside.tolist():
            place = [0.0, 0.0, 0.0]
            place[2 - axis] = index
            session.add_absence(self._there.structure.name, in_world([place], session.grid)[0])

    def _back_to(self, mark: int) -> None:
        session = self._session
        while session.history.done > mark:
            session.undo()

    def _patch(self) -> Patch:
        """Return what changed since the viewer's mask was as it is."""
        opened, session = self._there, self._session
        box = session.box_since(-1 if opened.known is None else opened.known)
        opened.known = session.revision
        if box is None:
            return Patch(ran=True)
        values = opened.structure.inside(session.mask(box)).transpose()
        spans = [[low, high] for low, high in zip(*box, strict=True)][::-1]
        return Patch(ran=True, box=spans, values=values.astype(opened.target))

    def _forget(self, scan: str, session: str | None) -> None:
        if session is not None:
            with suppress(Refused):  # a page may have deleted it
                self.sessions.forget(session)
        self.sessions.scans.remove(scan)
