"""What became of a piece of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class WorkOutcome(Generic[Item, Result]):
    """A piece of work with its result, or with why it has none.

    Args:
        item: the piece of work.
        result: what the worker returned; None where it failed.
        failure: why, in one line; None where it was done.
        tries: how often it was begun.
        seconds: the last try took.
        worker: the name of the worker that did or last tried it; each has another.
        node: that worker's machine.
    """

    item: Item
    result: Result | None = None
    failure: str | None = None
    tries: int = 1
    seconds: float = 0.0
    worker: str = "here"
    node: str = "here"

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.failure is None
