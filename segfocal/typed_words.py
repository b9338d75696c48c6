"""Options as a person types them: a value in the quotes that Hydra asks for, a word in those that a shell does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_PLAIN = re.compile(r"[A-Za-z0-9_/.:%@+-]+")  # what Hydra reads as it stands


def option(name: str, value: object) -> str:
    """Return name=value as one argument of a command, whatever the value holds, as the path of a folder does.

    Source: Hydra's grammar of overrides: a backslash counts before a quote only.
    """
    text = str(value)
    if _PLAIN.fullmatch(text):
        return f"{name}={text}"
    inside = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"{name}='{inside}'"


def line(words: Iterable[str]) -> str:
    """Return arguments as a line for a shell."""
    return " ".join(map(shlex.quote, words))
