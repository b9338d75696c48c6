"""The page about one run: curves, pictures, metrics, and the commands that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.report.html import Picture, write_page


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What a page shows, in its order: headline metrics, facts, table rows, pictures, commands, notes."""

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
