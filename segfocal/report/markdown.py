"""Markdown with values of others in it: their text is shown and does not act, a head of YAML is its library's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from segfocal.plain_text import visible

# What acts within a line: marks of CommonMark and its tables, and what makes addresses links of themselves.
_ACTING = re.compile(r"([\\`*_{}\[\]<>()#!|~$&@:]|(?i:(?<=www)\.))")


def escaped(text: object) -> str:
    """Return text of others to stand within a line of Markdown: no markup, no HTML, no link, no end of line in it."""
    return _ACTING.sub(r"\\\1", visible(str(text), lines=False))


def code(text: object) -> str:
    """Return text of others in the type of code, in which nothing acts but backticks, which it is fenced by."""
    shown = visible(str(text), lines=False)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    padded = f" {shown} " if shown.startswith("`") or shown.endswith("`") else shown
    return f"{fence}{padded or ' '}{fence}"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; every cell is escaped."""
    lines = [columns, ["---"] * len(columns)]
    told = [[escaped(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [*lines, *told])


def head(values: Mapping[str, Any]) -> str:
    """Return metadata as YAML between two lines of dashes, as the first lines of a page hold it."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text}---\n"
