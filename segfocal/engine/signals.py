"""Signals that ask a run to stop: it saves first, and says how to go on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from segfocal.typed_words import line, option

_STOPPING = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; a scheduler's end; SLURM's warning before the end


class Stopped(KeyboardInterrupt):
    """A run that was told to stop, and that has saved its state if it could.

    Args:
        name: of the signal.
        step: optimiser steps made.
        folder: the run directory, for the message.
        saved: whether the last checkpoint was written.
    """

    def __init__(self, name: str, *, step: int, folder: Path, saved: bool) -> None:
        self.code = 128 + getattr(signal, name)
        how = f"give the same options with {line([option('hydra.run.dir', folder)])} resume=auto to go on"
        super().__init__(f"stopped by {name} after step {step}; {'' if saved else 'NOT SAVED, see above; '}{how}")


class StopRequest:
    """While active, notes the first such signal in `name` instead of dying from it; a second Ctrl-C is not waited for.

    Outside the main thread Python lets nobody listen for signals, and this does nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for name in _STOPPING:
                number = getattr(signal, name, None)  # Windows has no SIGUSR1
                if number is not None:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = self.name or signal.Signals(number).name
