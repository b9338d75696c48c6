"""Names of files as lists and file systems write them: one name can be written in several ways."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from segfocal.errors import UserError
from segfocal.io.volumes import stem


def composed(name: str) -> str:
    """Return a name with each accent in one letter (NFC): file systems write the same name in two ways."""
    return unicodedata.normalize("NFC", name)


def listed_file(folder: Path, text: str, *, where: Path) -> Path:
    """Return the path of a file that a list names.

    Where it is not there as written, one counts whose name differs in how accents are written, or in the letters of its
    ending (.NII.GZ). Any path that is not there otherwise is returned as it is.

    Args:
        folder: what relative paths begin at.
        text: the path, as listed.
        where: the list.

    Raises:
        UserError: a path that no file can have.
    """
    if "\0" in text:
        raise UserError(
            expected="paths of files", found=f"a NUL in {text!r}"[:120], where=where, do="write the path without it"
        )
    if (folder / text).exists():
        return folder / text
    path = Path(folder.anchor)
    for part in (folder / text).parts[len(path.parts) :]:
        path = _alike(path, part)
    return path


def _alike(folder: Path, name: str) -> Path:
    """Return a file of a folder by its name, or else by that in another writing if only one is there."""
    path = folder / name
    if name == ".." or path.exists() or not folder.is_dir():
        return path
    alike = [other for other in folder.iterdir() if _plain(other) == _plain(path)]
    return alike[0] if len(alike) == 1 else path


def _plain(path: Path) -> str:
    name = stem(path)
    return composed(name) + path.name[len(name) :].lower()
