"""Leases: which viewer has which session, and when a viewer that is gone or idle loses it.

Two clocks run for each. Any request shows that the viewer lives; only a user's action shows that somebody works.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from segfocal.serve.refusal import Refused

_BYTES = 16  # of a token
_RETRY_SECONDS = 10

Held = TypeVar("Held")


@dataclass(kw_only=True)
class Lease(Generic[Held]):
    """What one viewer holds, and when it was last heard of.

    Args:
        token: by which it names the lease.
        held: what it has.
        heard: the time of its last request.
        acted: the time of its user's last action.
    """

    token: str
    held: Held
    heard: float
    acted: float


@dataclass(kw_only=True)
class Leases(Generic[Held]):
    """The leases of a server; safe to use from several threads.

    Args:
        most: at a time.
        idle_seconds: without a user's action, after which a lease ends.
        silent_seconds: without any request, after which it does.
        clock: tells seconds.
    """

    most: int
    idle_seconds: float
    silent_seconds: float
    clock: Callable[[], float] = time.monotonic
    _leases: dict[str, Lease[Held]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def claim(self, held: Held) -> Lease[Held]:
        """Begin a lease; Refused with status 503 where the server is full."""
        with self._lock:
            if len(self._leases) >= self.most:
                raise Refused(
                    503,
                    expected=f"at most {self.most} viewers at a time",
                    found="a server that is full",
                    do="close one, or try again in a minute",
                    retry_seconds=_RETRY_SECONDS,
                )
            now = self.clock()
            lease = Lease(token=secrets.token_hex(_BYTES), held=held, heard=now, acted=now)
            self._leases[lease.token] = lease
            return lease

    def find(self, token: str | None, *, acting: bool) -> Lease[Held]:
        """Return a lease by its token.

        Args:
            token: that the viewer shows.
            acting: whether its user did something.

        Raises:
            Refused: with status 410, for a token of no lease, as of one that ended.
        """
        with self._lock:
            lease = self._leases.get(token or "")
            if lease is None:
                found = "no token" if not token else "one of a lease that ended"
                raise Refused(410, expected="the token of a lease", found=found, do="connect again")
            lease.heard = self.clock()
            lease.acted = lease.heard if acting else lease.acted
            return lease

    def remaining_seconds(self, lease: Lease[Held]) -> float:
        """Return after how long without a user's action a lease ends."""
        return max(0.0, self.idle_seconds - (self.clock() - lease.acted))

    def release(self, token: str | None) -> list[Held]:
        """End a lease; return what it held, nothing where there is no such lease."""
        with self._lock:
            lease = self._leases.pop(token or "", None)
            return [] if lease is None else [lease.held]

    def release_ended(self) -> list[Held]:
        """End the leases of viewers that are silent or idle; return what they held."""
        with self._lock:
            now = self.clock()
            ended = [
                token
                for token, lease in self._leases.items()
                if now - lease.heard > self.silent_seconds or now - lease.acted > self.idle_seconds
            ]
            return [self._leases.pop(token).held for token in ended]

    def release_all(self) -> list[Held]:
        """End all leases; return what they held."""
        with self._lock:
            held = [lease.held for lease in self._leases.values()]
            self._leases.clear()
            return held
