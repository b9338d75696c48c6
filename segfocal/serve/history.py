"""What was done to one scan, as a list that undo walks back and redo forward; on disk it is the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from segfocal.errors import UserError
from segfocal.files import read_json, write_json
from segfocal.foreign.schema import Schema, checked

_FORMAT = 1

Place = Annotated[list[float], Field(min_length=3, max_length=3)]
Plane = Literal["axial", "coronal", "sagittal"]


class Action(Schema):
    """One thing done. serial tells it from every other of its session."""

    serial: int


class Prompted(Action):
    """A prompt.

    Args:
        do: names the action.
        structure: its name.
        kind: point, box, scribble or lasso.
        positive: whether it is inside.
        world_mm: what was drawn.
        plane: on which.
        entries: of a file of prompts that it became.
    """

    do: Literal["prompt"] = "prompt"
    structure: str
    kind: str
    positive: bool = True
    world_mm: list[Place]
    plane: Plane | None = None
    entries: list[dict[str, Any]]


class Masked(Action):
    """A mask as prompt, of one structure or (None) of all: then everything before it is gone."""

    do: Literal["mask"] = "mask"
    structure: str | None
    entries: list[dict[str, Any]]


class Stroke(Action):
    """A stroke of a brush over the answers, or of a rubber.

    Args:
        do: names the action.
        structure: its name; None for a rubber of all.
        erase: whether it takes the structure away.
        world_mm: places of the stroke.
        radius_mm: of the brush.
        plane: on which it was drawn; None for a ball.
    """

    do: Literal["stroke"] = "stroke"
    structure: str | None
    erase: bool = False
    world_mm: list[Place]
    radius_mm: float
    plane: Plane | None = None


class Carried(Action):
    """Answers propagated to the neighbours of prompted slices, so far; None: to the end."""

    do: Literal["carry"] = "carry"
    reach_mm: float | None = None


class Reset(Action):
    """Prompts and strokes taken away: of a structure, or all."""

    do: Literal["reset"] = "reset"
    structure: str | None = None


AnyAction = Prompted | Masked | Stroke | Carried | Reset
Asking = Prompted | Masked


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What stands after some actions.

    Args:
        asking: prompts and masks, in their order.
        strokes: of the brush, in their order.
        reach_mm: how far answers are propagated; 0 before anybody asked for it.
        whole: the prompts that the answers beside prompted slices are of.
        since: those that came after these.
    """

    asking: tuple[Asking, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    reach_mm: float | None = 0.0
    whole: tuple[Asking, ...] = ()
    since: tuple[Asking, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether slices that are not prompted wait to be answered anew."""
        return self.reach_mm != 0 and bool(self.since)

    def of_volumes(self) -> Standing:
        """Return the same for a model whose answers are of the whole scan: nothing waits, and a reach of 0 is none."""
        return replace(self, reach_mm=self.reach_mm or None, whole=self.asking, since=())

    def after(self, action: AnyAction) -> Standing:
        """Return what stands after one more action."""
        if isinstance(action, Carried):
            return replace(self, reach_mm=action.reach_mm, whole=self.asking, since=())
        if isinstance(action, Reset):
            return Standing() if action.structure is None else self._without(action.structure)
        if isinstance(action, Stroke):
            return replace(self, strokes=(*self.strokes, action))
        before = self
        if isinstance(action, Masked):
            if action.structure is None:
                return Standing(asking=(action,), whole=(action,))
            before = self._without(action.structure, strokes=False)
        return replace(before, asking=(*before.asking, action), since=(*before.since, action))

    def _without(self, structure: str, *, strokes: bool = True) -> Standing:
        """Return what stands without the prompts of a structure; a mask of all structures loses its entry of it."""
        left = tuple(one for one in self.strokes if not strokes or one.structure != structure)
        asking, whole, since = (_others(part, structure) for part in (self.asking, self.whole, self.since))
        return replace(self, asking=asking, whole=whole, since=since, strokes=left)


def _others(asking: Sequence[Asking], structure: str) -> tuple[Asking, ...]:
    kept: list[Asking] = []
    for one in asking:
        if one.structure is None:
            entries = [entry for entry in one.entries if entry["structure"] != structure]
            kept += [one.model_copy(update={"entries": entries})] if entries else []
        elif one.structure != structure:
            kept.append(one)
    return tuple(kept)


class _File(Schema):
    """What state.json holds."""

    format: Literal[1]
    scan: str
    name: str
    stamps: list[list[int]]
    actions: list[Annotated[AnyAction, Field(discriminator="do")]]
    done: int = Field(ge=0)
    revision: int = Field(ge=0)
    saved_revision: int | None = None


@dataclass(kw_only=True)
class History:
    """The actions of one session, how many of them count, and how often anything changed.

    Args:
        scan: the id of the scan.
        name: its name, for people.
        stamps: size and time of change of each of its files, when the session began.
        actions: all of them, also those that were undone.
        done: how many count.
        revision: grows with every change, also by undo.
        saved_revision: that of the last mask that was saved; None without any.
    """

    scan: str
    name: str
    stamps: list[list[int]]
    actions: list[AnyAction] = field(default_factory=list)
    done: int = 0
    revision: int = 0
    saved_revision: int | None = None

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a session; UserError where it is damaged."""
        found = checked(read_json(path), TypeAdapter(_File), where=path, do="delete that folder: the session is lost")
        if found.done > len(found.actions):
            raise UserError(
                expected=f"at most {len(found.actions)} actions that count",
                found=f"{found.done}",
                where=path,
                do="delete that folder: the session is lost",
            )
        about = {name: getattr(found, name) for name in _File.model_fields if name not in ("format", "actions")}
        return cls(**about, actions=list(found.actions))

    def write(self, path: Path) -> None:
        """Write the session, whole or not at all."""
        actions = [action.model_dump() for action in self.actions]
        write_json(path, {"format": _FORMAT, **vars(self), "actions": actions})

    @property
    def next_serial(self) -> int:
        """A number that no action has."""
        return max((action.serial for action in self.actions), default=0) + 1

    def standing(self) -> Standing:
        """Return what stands after the actions that count."""
        standing = Standing()
        for action in self.actions[: self.done]:
            standing = standing.after(action)
        return standing

    def added(self, action: AnyAction) -> History:
        """Return the history with one more action, in place of those that were undone."""
        actions = [*self.actions[: self.done], action]
        return self._changed(actions=actions, done=len(actions))

    def moved(self, by: int) -> History:
        """Return the history with one action less that counts (−1), or one more (1)."""
        return self._changed(done=self.done + by)

    def saved(self) -> History:
        """Return the history of which a mask was just written."""
        return replace(self, saved_revision=self.revision)

    def _changed(self, **changes: Any) -> History:
        return replace(self, **changes, revision=self.revision + 1)
