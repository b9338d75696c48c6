"""The same thing done to each of many items by the workers of a cluster, the results in the order of the items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from segfocal.cluster.cluster import Say, started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.outcome import Item, Result


@dataclass(frozen=True, kw_only=True, eq=False)
class _InFolder(Generic[Item, Result]):
    """Makes a worker ready: relative paths begin where the command was given."""

    work: Callable[[Item], Result]
    folder: Path

    def __call__(self) -> Callable[[tuple[int, Item]], Result]:
        os.chdir(self.folder)
        return self.one

    def one(self, numbered: tuple[int, Item]) -> Result:
        return self.work(numbered[1])


def results_in_order(
    settings: ClusterSettings,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    failed: Callable[[Item, str], Result],
    folders: Sequence[Path] = (),
    say: Say = print,
) -> Iterator[Result]:
    """Yield the result of each item, in order; one that is done before its turn waits for it.

    Args:
        settings: of the cluster, which lasts as long as this.
        work: what is done; it can be pickled, as its items and results can, and none holds a scan.
        items: its arguments.
        failed: returns the result of an item that has none, of it and why in one line.
        folders: that each machine has to see; those that are not there, or are files, are left out.
        say: takes a line on machines that are left out.

    Raises:
        UserError: a cluster that cannot be used.
    """
    ready: dict[int, Any] = {}
    place = Path.cwd()
    seen = [place, *dict.fromkeys(folder for folder in folders if folder.is_dir())]
    with started(settings) as cluster:
        outcomes = cluster.run(_InFolder(work=work, folder=place), list(enumerate(items)), folders=seen, say=say)
        turn = 0
        for outcome in outcomes:
            number, item = outcome.item
            ready[number] = outcome.result if outcome.failure is None else failed(item, outcome.failure)
            while turn in ready:
                yield ready.pop(turn)
                turn += 1
