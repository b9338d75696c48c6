"""How fast pieces of work are done, and how long the rest will take."""

from __future__ import annotations

_UNITS = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


class Pace:
    """The pace of work since its first piece ended: what went before was starting.

    Args:
        count: pieces of work.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.first: float | None = None

    def told(self, ended: int, now: float) -> str:
        """Return it in words, as "1,200 an hour, 20 min left"; only how many are left at the first.

        Args:
            ended: pieces of work that have ended; ≥ 1.
            now: of time.monotonic().
        """
        if self.first is None or ended < 2:
            self.first = now
            return f"{self.count - ended} left"
        seconds = max(now - self.first, 1e-3) / (ended - 1)
        left = seconds * max(0, self.count - ended)
        size, unit = next((one for one in _UNITS if left >= 2 * one[0]), _UNITS[-1])
        return f"{3600 / seconds:,.0f} an hour, {left / size:.0f} {unit} left"
