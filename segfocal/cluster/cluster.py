"""Independent pieces of work, done where the settings say: in this process, one by one, or by workers of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.outcome import Item, Result, WorkOutcome
from segfocal.cluster.worker_errors import in_one_line

Work = Callable[[Item], Result]
Say = Callable[[str], None]


class Cluster(Protocol):
    """Something that does pieces of work."""

    def run(
        self,
        make_work: Callable[[], Work[Item, Result]],
        items: Iterable[Item],
        *,
        folders: Sequence[Path] = (),
        say: Say = print,
        again: Callable[[Item], Item] | None = None,
    ) -> Iterator[WorkOutcome[Item, Result]]:
        """Yield what became of each item, in the order in which they end.

        Items are taken only when a worker is free, so that no more are begun than there are workers. What `make_work`
        raises everywhere is raised; what work raises is an outcome and stops nothing. Items, what `make_work` holds and
        results are pickled: they name files and hold no arrays.

        Args:
            make_work: called once in each worker, to load a model; returns what is called with each item.
            items: at most one iterator of them is made; taking the next one must not wait.
            folders: that are there and in which each worker writes or reads; a node that does not see them is left out.
            say: takes a line on nodes that are left out.
            again: called with an item that is tried again; returns what is handed out. None: the item.

        Raises:
            UserError: no node can do the work; a `make_work` that failed everywhere.
        """
        ...


class OneProcess:
    """This process: one piece of work after another. It bears no time or memory limits, which need other processes."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings

    def run(
        self,
        make_work: Callable[[], Work[Item, Result]],
        items: Iterable[Item],
        *,
        folders: Sequence[Path] = (),
        say: Say = print,
        again: Callable[[Item], Item] | None = None,
    ) -> Iterator[WorkOutcome[Item, Result]]:
        """Yield what became of each item, as `Cluster.run`, whose arguments these are.

        Args:
            make_work: called once.
            items: for what it returns.
            folders: unused, this machine sees them.
            say: unused, no machine is left out.
            again: unused, nothing is tried again.
        """
        for name in self.settings.imports:
            import_module(name)
        work = make_work()
        for item in items:
            started = time.monotonic()
            try:
                result = work(item)
            except Exception as error:
                yield WorkOutcome(item=item, failure=in_one_line(error), seconds=time.monotonic() - started)
            else:
                yield WorkOutcome(item=item, result=result, seconds=time.monotonic() - started)


@contextmanager
def started(settings: ClusterSettings) -> Iterator[Cluster]:
    """Start or join what the settings name, yield it, and stop or leave it when the block ends.

    Raises:
        UserError: Ray is not installed, an address that answers nothing, other versions there.
    """
    if settings.kind == "none":
        yield OneProcess(settings)
        return
    from segfocal.cluster.ray_session import ray_cluster

    with ray_cluster(settings) as cluster:
        yield cluster
