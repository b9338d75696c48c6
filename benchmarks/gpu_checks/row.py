"""One line of the table: a measurement, or a claim that held or did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "fail", "measured", "left out"]

HEADING = f"{'×':>8}  {'':8}  {'part':36}  found"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one check found.

    Args:
        name: of the check within its part; "" where the part has but one.
        verdict: pass or fail of a correctness line; measured: a number without a claim; left out: not run.
        found: in words, one line.
        ratio: of two times or speeds, above 1 where ours is ahead; None where nothing is compared.
        numbers: for the JSON file.
    """

    name: str = ""
    verdict: Verdict = "measured"
    found: str = ""
    ratio: float | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        shown = "" if self.verdict == "measured" else self.verdict
        return f"{ratio:>8}  {shown:8}  {self.name:36}  {self.found}".rstrip()


def judged(holds: bool) -> Verdict:
    """Return the verdict of a claim."""
    return "pass" if holds else "fail"
