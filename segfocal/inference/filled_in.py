"""What a person has filled in on a model card, read from the old card so that a new one keeps it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.errors import UserError
from segfocal.foreign.door import Limits, parse_yaml, read_text

CARD = "README.md"
FILL_IN = "*To be filled in"  # how the text of an open field begins
_LIMITS = Limits(mebibytes=1)
_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADING = re.compile(r"## +(.+?)[ #]*$")
_FACTS = re.compile(r"^\| what \| value \|\n(\|.*\n?)*", flags=re.M)


@dataclass(frozen=True, kw_only=True)
class FilledIn:
    """What a new card takes from the old one.

    Args:
        head: values of the YAML that are a person's.
        fields: the text of each open field that was filled in, by its heading.
        sections: whole sections under headings of a person's own, as they stand.
    """

    head: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[str] = ()

    def text(self, heading: str, ask: str) -> str:
        """Return what stands in an open field: what was filled in, or a line that asks for it."""
        return self.fields.get(heading) or f"{FILL_IN}: {ask}*"


def read_filled_in(card: Path, *, keys: Collection[str], fields: Collection[str], others: Collection[str]) -> FilledIn:
    """Return what a person has filled in on a card; nothing where there is no card, or none in UTF-8.

    Args:
        card: the file.
        keys: of the head, those that are written anew.
        fields: the headings of open fields.
        others: the headings of sections that are written anew.
    """
    try:
        text = read_text(card, expected="a model card", limits=_LIMITS).replace("\r\n", "\n")
    except UserError:
        return FilledIn()
    head, body = _parted(text)
    filled: dict[str, str] = {}
    own = []
    for heading, content in _sections(body):
        if heading in fields:
            kept = _FACTS.sub("", content).strip()
            if kept and not (kept.startswith(FILL_IN) and "\n\n" not in kept):
                filled[heading] = f"{filled[heading]}\n\n{kept}" if heading in filled else kept
        elif heading not in others:
            own.append(f"## {heading}\n{content.rstrip()}\n")
    kept_keys = {key: value for key, value in head.items() if key not in keys}
    return FilledIn(head=kept_keys, fields=filled, sections=own)


def _parted(text: str) -> tuple[dict[str, Any], str]:
    """Return the YAML at the head, empty where it is none, and the text below it."""
    found = re.match(r"---\n(.*?\n)---\n", text, flags=re.S)
    if not found:
        return {}, text
    try:
        head = parse_yaml(found[1], where=CARD, limits=_LIMITS)
    except UserError:
        head = None
    return head if isinstance(head, dict) else {}, text[found.end() :]


def _sections(body: str) -> list[tuple[str, str]]:
    """Return (heading, text) of each section of the second level; a line of code is no heading."""
    lines = body.split("\n")
    starts = [number for number in _outside_code(lines) if _HEADING.match(lines[number])]
    ends = [*starts[1:], len(lines)]
    return [
        (_HEADING.match(lines[start])[1], "\n".join(lines[start + 1 : end]))  # type: ignore[index]
        for start, end in zip(starts, ends, strict=False)
    ]


def _outside_code(lines: Sequence[str]) -> list[int]:
    """Return the numbers of lines that stand in no fenced code; a fence that nothing closes opens none."""
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line)]
    inside = {n for start, end in zip(fences[::2], fences[1::2], strict=False) for n in range(start, end + 1)}
    return [number for number in range(len(lines)) if number not in inside]
