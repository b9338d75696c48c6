"""The one maker of HTML pages: a room's template filled with values, each page one file that needs no other."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from segfocal.files import write_text
from segfocal.plain_text import visible


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG with its caption."""

    path: Path
    caption: str


def write_page(
    path: Path, template: str, values: Mapping[str, Any], *, filters: Mapping[str, Callable[..., Any]] | None = None
) -> None:
    """Write a page whole or not at all; every value is escaped, pictures are inside the file.

    Args:
        path: the HTML file.
        template: below the package, such as "doctor/page.html.j2".
        values: by the names that the template uses; a name it lacks is an error.
        filters: functions of the template besides `inline`, which puts a PNG into the page, and `beside`, the URL of a
            file by its path.
    """
    environment = Environment(
        loader=PackageLoader("segfocal", ""),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_visible,
    )
    environment.filters |= {"inline": inline, "beside": partial(link, page=path), **(filters or {})}
    write_text(path, environment.get_template(template).render(values))


def _visible(value: Any) -> Any:
    """Return text with what would act in it spelt out, such as marks that turn the direction of writing."""
    return visible(value) if type(value) is str else value


def link(to: Path, page: Path) -> str:
    """Return the URL of a file for a page: relative, without a scheme, quoted; javascript:x.nii is a file's name."""
    try:
        relative = Path(os.path.relpath(to, page.parent)).as_posix()
    except ValueError:  # on another drive
        relative = Path(to).name
    return "./" + quote(relative, safe="/", errors="surrogateescape").removeprefix("./")


def inline(path: Path) -> str:
    """Return a PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
