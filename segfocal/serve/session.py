"""A scan that a person works on: prompts in, a mask that answers them out, and every step kept on disk.

The mask is a function of the actions that count (`history.py`), and answers are kept under names of all that led to
them. So a session that was killed is the same when it is read again, and undo asks the model nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from numpy.typing import NDArray

from segfocal.files import make_folder
from segfocal.grid import Grid
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.serve import drawn
from segfocal.serve.answers import slice_axis, without_prompt
from segfocal.serve.brush import check_stroke
from segfocal.serve.history import Carried, History, Masked, Plane, Prompted, Reset, Standing, Stroke
from segfocal.serve.mask import Box, SessionMask, answers_volumes, joined
from segfocal.serve.progress import Progress
from segfocal.serve.refusal import Refused
from segfocal.serve.scans import ServedScan
from segfocal.serve.training_folder import Saved, save, write_names, written_masks
from segfocal.structure import Structure

STATE = "state.json"
_KNOWN_BOXES = 256  # changes of which the box is remembered


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an action did to the mask.

    Args:
        revision: of the session after it.
        box: the voxels that changed, half-open, in the axes of the scan's file; None where nothing did.
        seconds: that it took.
    """

    revision: int
    box: Box | None
    seconds: float


class Session:
    """One scan with its prompts. Every method but those that only look may take long: call them in a thread.

    Args:
        folder: of the session, in which all that it keeps lies.
        scan: its files.
        predictor: of one bundle, shared by all sessions.
        options: what a slice hands on to the next one.
        history: what was done before; None begins one.
    """

    def __init__(
        self,
        folder: Path,
        scan: ServedScan,
        predictor: Predictor,
        *,
        options: PropagationOptions,
        history: History | None = None,
    ) -> None:
        self.folder, self.scan, self.predictor, self.options = folder, scan, predictor, options
        self.id, self.progress = folder.name, Progress()
        self.lock, self.lock_of_files = RLock(), RLock()
        self.grid: Grid = scan.read_grid()
        self.structures: tuple[Structure, ...] = predictor.bundle.structures
        self.history = history or History(scan=scan.id, name=scan.name, stamps=scan.stamps())
        self.scan.check_unchanged(self.history.stamps)
        self._mask: SessionMask | None = None
        self._boxes: list[tuple[int, Box]] = []
        self._first_known = self.history.revision
        if history is None:
            make_folder(folder)
            self.history.write(folder / STATE)

    @property
    def revision(self) -> int:
        """How often anything changed."""
        return self.history.revision

    @property
    def ready(self) -> bool:
        """Whether the scan is in memory, as the model sees it."""
        return self._mask is not None

    @property
    def slice_axis(self) -> int:
        """The array axis of the scan along which the model's slices run."""
        return slice_axis(self.grid, self.predictor.bundle.grid.frame)

    def prepare(self) -> None:
        """Read the scan and answer again what was answered before, from what is kept."""
        with self.lock:
            self._ready()

    def _ready(self) -> SessionMask:
        if self._mask is None:
            with self.progress.doing("reading"):
                mask = SessionMask(self.predictor, self.scan.read(), folder=self.folder, options=self.options)
                mask.update(self.history.standing(), self.progress.step)
                self._mask = mask
        return self._mask

    def add_prompt(
        self,
        kind: str,
        structure: str | None,
        places: drawn.Places,
        *,
        positive: bool = True,
        plane: Plane | None = None,
    ) -> Change:
        """Add what a person drew; the slices that it reaches are answered at once, others by `carry`.

        Args:
            kind: point, box, scribble or lasso.
            structure: by name; may be None where the bundle has one.
            places: in world mm: one of a point, two corners of a box, those of a line.
            positive: whether it marks the structure, or what is none of it.
            plane: in which it was drawn, to be drawn there again.

        Raises:
            Refused: places outside the scan, a kind or structure that is unknown, a model that takes no prompts.
        """
        name = drawn.named(structure, self.structures)
        entries = drawn.entries_of(kind, name, places, positive=positive, grid=self.grid)
        return self._prompted(
            structure=name, kind=kind, positive=positive, world_mm=drawn.plain(places), plane=plane, entries=entries
        )

    def add_absence(self, structure: str | None, place: Sequence[float]) -> Change:
        """Say that there is nothing of a structure on the slice of a place in world mm."""
        name = drawn.named(structure, self.structures)
        entry = drawn.absence(name, place, axis=self.slice_axis, grid=self.grid)
        return self._prompted(structure=name, kind="absent", world_mm=drawn.plain([place]), entries=[entry])

    def _prompted(self, **about: Any) -> Change:
        return self._act(lambda serial: Prompted(serial=serial, **about))

    def add_mask(self, structure: str | None, inside: NDArray) -> Change:
        """Begin a structure anew with a mask of it, the scan's shape, as its prompt on every slice that it marks."""
        name = drawn.named(structure, self.structures)
        if inside.shape != self.grid.shape:
            raise Refused(
                422, expected=f"a mask of shape {self.grid.shape}", found=f"{inside.shape}", do="give the scan's own"
            )
        if not inside.any():
            raise Refused(422, expected="a mask that marks a voxel", found="none", do="draw one")
        return self._act(lambda serial: self._masked(serial, {name: inside != 0}, name))

    def predict(self) -> Change:
        """Segment the whole scan without a prompt; its mask takes the place of all prompts, and can be corrected.

        Raises:
            Refused: a model that needs prompts.
        """
        if self.predictor.bundle.needs_prompts:
            raise Refused(
                422,
                expected="a model that answers without a prompt",
                found="one that was trained with prompts only",
                do="draw a prompt, and carry it to the neighbours",
            )
        with self.lock, self.progress.doing("predict"):
            labels = without_prompt(self.predictor, self.scan.read(), self.progress.step)
            found = {one.name: one.inside(labels) for one in self.structures}
            return self._act(lambda serial: self._masked(serial, found, None))

    def _masked(self, serial: int, inside: Mapping[str, NDArray], structure: str | None) -> Masked:
        """Write the masks of structures beside the prompts, without those that are empty; return the action."""
        geometry = self.scan.geometry()
        entries = written_masks(self.folder, f"mask_{serial}", inside, grid=self.grid, like=geometry)
        return Masked(serial=serial, structure=structure, entries=entries)

    def add_stroke(
        self,
        structure: str | None,
        places: drawn.Places,
        *,
        radius_mm: float,
        erase: bool = False,
        plane: Plane | None = None,
    ) -> Change:
        """Paint over the answers, or erase.

        Args:
            structure: that is painted, or with erase taken away; None takes all away.
            places: of the line, in world mm.
            radius_mm: of the brush.
            erase: whether the structure is taken away.
            plane: in one slice of it; None paints a ball.
        """
        name = None if structure is None else drawn.named(structure, self.structures)
        drawn.check_places("scribble", places, self.grid)
        about: dict[str, Any] = {"structure": name, "erase": erase, "radius_mm": radius_mm, "plane": plane}
        stroke = Stroke(serial=0, world_mm=drawn.plain(places), **about)
        check_stroke(stroke, self.grid)
        return self._act(lambda serial: stroke.model_copy(update={"serial": serial}))

    def carry(self, reach_mm: float | None = None) -> Change:
        """Propagate the answers of prompted slices to their neighbours, so far; None: as far as it goes."""
        if reach_mm is not None and not 0 <= reach_mm <= 1e6:
            raise Refused(422, expected="reach_mm of 0 or more", found=f"{reach_mm:g}", do="change it")
        return self._act(lambda serial: Carried(serial=serial, reach_mm=reach_mm), doing="carry")

    def reset(self, structure: str | None = None) -> Change:
        """Take away the prompts and strokes of a structure, or all."""
        name = None if structure is None else drawn.named(structure, self.structures)
        return self._act(lambda serial: Reset(serial=serial, structure=name))

    def undo(self) -> Change:
        """Take the last action back."""
        return self._move(-1, "undo")

    def redo(self) -> Change:
        """Do again what was taken back last."""
        return self._move(1, "redo")

    def _move(self, by: int, word: str) -> Change:
        with self.lock:
            if not 0 <= self.history.done + by <= len(self.history.actions):
                raise Refused(409, expected=f"something to {word}", found="nothing", do="go on")
            return self._changed(self.history.moved(by), word)

    def _act(self, made: Callable[[int], Any], *, doing: str = "prompts") -> Change:
        with self.lock:
            self.scan.check_unchanged(self.history.stamps)
            self._ready()
            return self._changed(self.history.added(made(self.history.next_serial)), doing)

    def _changed(self, history: History, doing: str) -> Change:
        """Answer what another history asks. It is on disk first; where it cannot be answered, it never was."""
        started, before, mask = time.monotonic(), self.history, self._ready()
        standing = history.standing()
        mask.check(standing)
        history.write(self.folder / STATE)
        try:
            with self.progress.doing(doing):
                box = mask.update(standing, self.progress.step)
        except BaseException:
            before.write(self.folder / STATE)
            mask.update(before.standing())
            raise
        self.history = history
        if box is not None:
            self._boxes.append((history.revision, box))
        if len(self._boxes) > _KNOWN_BOXES:
            self._first_known = self._boxes.pop(0)[0]
        return Change(revision=history.revision, box=box, seconds=round(time.monotonic() - started, 4))

    @property
    def standing(self) -> Standing:
        """What stands after all that was done."""
        standing = self.history.standing()
        return standing.of_volumes() if answers_volumes(self.predictor.bundle) else standing

    def mask(self, box: Box | None = None) -> NDArray:
        """Return a copy of the label values, of the scan's shape, or of a box of it."""
        if not self.ready:
            self.prepare()
        return self._ready().part(box)

    def box_since(self, revision: int | None) -> Box | None:
        """Return the box of the voxels that changed after a revision; all where that is not known, or None."""
        if revision == self.revision:
            return None
        if revision is None or not self._first_known <= revision <= self.revision:
            return (0, 0, 0), self.grid.shape
        return joined([box for one, box in self._boxes if one > revision])

    def prompts(self) -> list[dict[str, Any]]:
        """Return the entries of the file of prompts that `predict prompts=` answers with this mask."""
        return [entry for action in self.standing.asking for entry in action.entries]

    def save(self, output: Path) -> Saved:
        """Write mask, prompts and scan into a data set; slices that wait to be answered anew are answered first."""
        with self.lock:
            self.scan.check_unchanged(self.history.stamps)
            standing = self.standing
            if standing.pending:
                self.carry(standing.reach_mm)
            with self.progress.doing("save"):
                about: dict[str, Any] = {"grid": self.grid, "prompts": self.prompts(), "beside": self.folder}
                files = save(output, self.scan, self.mask(), **about)
                write_names(output, self.structures)
            self.history = self.history.saved()
            self.history.write(self.folder / STATE)
            return files
