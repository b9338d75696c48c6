"""How far the work on one session is, for who waits for it; and a way to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from segfocal.serve.refusal import Refused


class Progress:
    """What is being done, read in one thread and written in another; a step that is told of may end the work.

    between: is called after each step; others may have their turn there.
    """

    def __init__(self) -> None:
        self.between: Callable[[], None] | None = None
        self._doing: list[str] = []
        self._started = 0.0
        self._steps = 0
        self._stopped = False
        self.waiting = 0  # requests

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Name the work of the block; that of a block within another is part of it."""
        if not self._doing:
            self._started, self._steps, self._stopped = time.monotonic(), 0, False
        self._doing.append(what)
        try:
            yield
        finally:
            self._doing.pop()

    @property
    def busy(self) -> bool:
        """Whether there is work, or a request that waits for it."""
        return bool(self._doing) or self.waiting > 0

    def step(self, index: int) -> None:
        """Count a slice that was answered; raises Refused where the work was stopped."""
        self._steps += 1
        if self._stopped:
            raise Refused(409, expected="work that goes on to its end", found="it was stopped", do="ask again")
        if self.between:
            self.between()

    def stop(self) -> bool:
        """End the work at its next step; return whether there is any."""
        self._stopped = bool(self._doing)
        return self._stopped

    def told(self) -> dict[str, Any]:
        """Return what is being done, for how long, and how many slices were answered."""
        doing = self._doing[:1]
        return {
            "doing": doing[0] if doing else None,
            "slices": self._steps if doing else 0,
            "seconds": round(time.monotonic() - self._started, 2) if doing else 0.0,
            "waiting": self.waiting,
        }
