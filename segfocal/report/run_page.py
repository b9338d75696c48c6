"""The page about one run: curves, pictures, metrics, and the commands that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.report.html import Picture, write_page


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What the page shows, in its order.

    Args:
        title: of the page.
        headlines: the main numbers by name, as text.
        facts: how the run was made, by name.
        rows: of the table of metrics; all have the columns of the first.
        pictures: with their captions.
        commands: that repeat the run.
        notes: to keep in mind when reading the numbers.
    """

    title: str
    headlines: Mapping[str, str]
    facts: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture]
    commands: Sequence[str]
    notes: Sequence[str]


def write_run_page(page: RunPage, path: Path) -> None:
    """Write the page; pictures are inside it, so the one file can be mailed."""
    write_page(path, "report/run_page.html.j2", {"page": page})
