"""What lies below a folder, links followed: each folder once, so that links in a circle end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What lies below a folder, in the order of names; nothing hidden.

    Args:
        files: every file, broken links too.
        folders: every folder, the one above all first; a link to a folder under the name of the link.
        again: links to folders that are walked by another name, as those of a circle are.
    """

    files: list[Path]
    folders: list[Path]
    again: list[Path]


def walk(top: Path) -> Walk:
    """Walk a folder and those below, first what really lies there, then what links lead to.

    A folder that cannot be listed has no files.
    """
    files, folders, again = list[Path](), list[Path](), list[Path]()
    seen, waiting, real = set[str](), [top], os.path.realpath(top)
    while waiting:
        links = list[Path]()
        for start in waiting:
            place = os.path.realpath(start)
            if place in seen or (start != top and os.path.commonpath([place, real]) == place):
                again.append(start)
                continue
            for own_files, own_folders, own_links in _really_below(start, seen):
                files += own_files
                folders += own_folders
                links += own_links
        waiting = sorted(links)
    return Walk(files=sorted(files), folders=[top, *sorted(set(folders) - {top})], again=again)


def _really_below(start: Path, seen: set[str]) -> Iterator[tuple[list[Path], list[Path], list[Path]]]:
    """Yield the files of each folder, itself, and the links to folders in it; `seen` grows by the folders."""
    for place, below, names in os.walk(start):
        here = Path(place)
        seen.add(os.path.realpath(here))
        visible = [here / name for name in below if not name.startswith(".")]
        below[:] = [path.name for path in visible if not path.is_symlink() and os.path.realpath(path) not in seen]
        links = [path for path in visible if path.is_symlink()]
        yield [here / name for name in names if not name.startswith(".")], [here], links
