"""Text from data as people see it, where nothing in it acts, and the word that somebody meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_ALIKE = 0.6  # of difflib's ratio: trian and train 0.8, lr and loss 0.33


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


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that one which is not known was most likely meant to be; None where none is like it."""
    import difflib  # only where something is wrong

    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=_ALIKE)
    return by_lower[near[0]] if near else None
