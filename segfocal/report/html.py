"""One self-contained HTML page about a run: curve, pictures, figures, and the commands that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, select_autoescape

from segfocal.files import write_text
from segfocal.report.plots import inline


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG with its caption."""

    path: Path
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows, in its order: headline figures, facts, table rows, pictures, commands, notes."""

    title: str
    headlines: Mapping[str, str]
    facts: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture]
    commands: Sequence[str]
    notes: Sequence[str]


def write(page: Page, path: Path) -> None:
    """Write the page; pictures are inside it, so the one file can be mailed."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters["inline"] = inline
    template = environment.from_string(files("segfocal.report").joinpath("run_page.html.j2").read_text("utf-8"))
    write_text(path, template.render(page=page))
