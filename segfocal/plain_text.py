"""Text from data as people see it: nothing in it acts on a terminal, a page or a plot."""

from __future__ import annotations

import unicodedata


def visible(text: str, *, lines: bool = True) -> str:
    """Return text of others as a terminal, a page or a plot can show it: what would act is spelt out, as \\x1b.

    That is control characters, surrogates, and the marks that turn the direction of writing; with lines=False also the
    end of a line.
    """
    return "".join(letter if _is_shown(letter, lines=lines) else ascii(letter)[1:-1] for letter in text)


def _is_shown(letter: str, *, lines: bool) -> bool:
    if letter.isprintable() or (lines and letter == "\n"):
        return True
    kind = unicodedata.category(letter)
    if kind == "Cf":  # those that join letters stay, as the scripts of India need them
        return unicodedata.bidirectional(letter) == "BN" and letter != "\ufeff"
    return kind in ("Zs", "Cn", "Co")
