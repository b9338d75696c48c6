"""Names of files that any system takes, made of names of the data's."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST_NAME = 96  # bytes, of a slug
_LONGEST = 160  # bytes of a name that endings are added to; file systems take 255


def slug(name: str) -> str:
    """Return a name as that of a file or folder: itself where any system takes it, else what is left and a hash of all.

    It has no separators, quotes, brackets, spaces or leading dots, and at most 96 bytes. Different names stay so.
    """
    plain = re.sub(r"[^\w.,=+-]", "_", name).lstrip(".-")
    if plain == name and 0 < len(plain.encode()) <= _LONGEST_NAME:
        return name
    kept = plain.encode()[: _LONGEST_NAME - 9].decode(errors="ignore").rstrip("_")
    return f"{kept}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}".lstrip("_")


def fit_name(name: str) -> str:
    """Return a name of the data's as it is where a file can have it, spaces and all, else its `slug`."""
    fits = name.isprintable() and not name.startswith((".", "-")) and not name.endswith((".", " "))
    return name if fits and not set(name) & set('/\\:*?"<>|') and 0 < len(name.encode()) <= _LONGEST else slug(name)


def folded(name: str) -> str:
    """Return a name without what some file systems do not tell apart: case, and how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
