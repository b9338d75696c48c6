"""The sessions of a server: few in memory, all on disk, and one for each scan."""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import RLock

from segfocal.errors import UserError, warn
from segfocal.files import make_folder, written_beside
from segfocal.inference.predictor import Predictor
from segfocal.serve.history import History
from segfocal.serve.options import ServeOptions
from segfocal.serve.refusal import Refused
from segfocal.serve.scans import ScanList
from segfocal.serve.session import STATE, Session

_AT_REST = 60.0  # seconds without a request, after which a session may make room for another
_BYTES_OF_ID = 16


class Sessions:
    """Opens, finds, closes and forgets sessions.

    Args:
        options: where they lie, and how many may be in memory.
        predictor: shared by all.
        scans: by which they are opened.
    """

    def __init__(self, options: ServeOptions, predictor: Predictor, scans: ScanList) -> None:
        self.options, self.predictor, self.scans = options, predictor, scans
        self.folder = options.sessions
        self._lock = RLock()
        self._open: dict[str, Session] = {}
        self._used: dict[str, float] = {}
        self._known: dict[str, History] = {}
        for state in sorted(self.folder.glob(f"*/{STATE}")):
            try:
                self._known[state.parent.name] = History.read(state)
            except UserError as error:
                warn(f"{state.parent} is passed over: {error}")

    def of_scan(self, scan: str) -> str | None:
        """Return the id of a scan's session; None without one."""
        return next((name for name, history in self.all().items() if history.scan == scan), None)

    def all(self) -> dict[str, History]:
        """Return what was done in each session, by its id."""
        with self._lock:
            return {**self._known, **{name: session.history for name, session in self._open.items()}}

    def open(self, scan: str) -> Session:
        """Return the session of a scan, a new one where it has none; its voxels are not read yet.

        Raises:
            Refused: no scan of that id, a scan that is gone, a server that is full.
            UserError: a file that is no scan.
        """
        with self._lock:
            served, known = self.scans.find(scan), self.of_scan(scan)
            if known is not None:
                return self.find(known)
            self._make_room()
            name = secrets.token_hex(_BYTES_OF_ID)
            options = self.options.propagation
            self._open[name] = Session(self.folder / name, served, self.predictor, options=options)
            return self.find(name)

    def find(self, session: str) -> Session:
        """Return a session by its id, from disk where it is not in memory.

        Raises:
            Refused: no session of that id, a scan that is gone or was changed, a server that is full.
        """
        with self._lock:
            if session not in self._open:
                history = self._known.get(session)
                if history is None:
                    raise Refused(
                        404, expected="the id of a session", found=repr(session)[:60], do="open the scan again"
                    )
                self._make_room()
                scan, options = self.scans.find(history.scan), self.options.propagation
                self._open[session] = Session(
                    self.folder / session, scan, self.predictor, options=options, history=history
                )
            self._used[session] = time.monotonic()
            return self._open[session]

    def check_known(self, session: str) -> None:
        """Raise Refused where there is no session of that id."""
        if session not in self.all():
            raise Refused(404, expected="the id of a session", found=repr(session)[:60], do="open the scan again")

    def loaded(self, session: str) -> Session | None:
        """Return a session that is in memory, without counting that as a use."""
        return self._open.get(session)

    def close(self, session: str) -> None:
        """Take a session out of memory; all of it stays on disk."""
        with self._lock:
            found = self._open.pop(session, None)
            self._used.pop(session, None)
            if found is not None:
                self._known[session] = found.history

    def forget(self, session: str) -> None:
        """Delete a session from memory and disk."""
        with self._lock:
            self.check_known(session)
            self.close(session)
            self._known.pop(session, None)
            (self.folder / session / STATE).unlink(missing_ok=True)
            with suppress(OSError):
                shutil.rmtree(self.folder / session)

    def stop_work(self) -> None:
        """End what is being done in every session at its next step."""
        for session in list(self._open.values()):
            session.progress.stop()

    def close_idle(self) -> list[str]:
        """Close the sessions that nobody asked for in a while; return their ids."""
        with self._lock:
            idle = self._unused_for(60 * self.options.limits.idle_minutes)
            for name in idle:
                self.close(name)
            return idle

    def _unused_for(self, seconds: float) -> list[str]:
        """Return the sessions that are at rest for so long, the longest first."""
        now = time.monotonic()
        resting = [name for name, session in self._open.items() if not session.progress.busy]
        return sorted(
            (name for name in resting if now - self._used.get(name, 0.0) >= seconds), key=lambda name: self._used[name]
        )

    def _make_room(self) -> None:
        """Close a session at rest where as many are in memory as may be; Refused where none is."""
        most = self.options.limits.sessions
        if len(self._open) < most:
            return
        resting = self._unused_for(_AT_REST)
        if not resting:
            raise Refused(
                503,
                expected=f"at most {most} scans open at a time",
                found="a server that is full",
                do="close one, or try again in a minute",
                retry_seconds=int(_AT_REST),
            )
        self.close(resting[0])


def keep_key(folder: Path) -> str:
    """Return the key that is kept in a folder, made up at first, so that a page stays good when the server restarts."""
    place = folder / ".key"
    with suppress(OSError):
        text = place.read_text(encoding="ascii", errors="replace").strip()
        if len(text) >= _BYTES_OF_ID:
            return text
    make_folder(folder)
    key = secrets.token_urlsafe(2 * _BYTES_OF_ID)
    with written_beside(place) as temporary:
        temporary.write_text(key)
    place.chmod(0o600)
    return key
