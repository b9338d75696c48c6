"""Work handed out to Ray's workers: one piece at a time to each, tried elsewhere where a worker dies, given up in time.

Ray places workers where there is room, starts their processes and tells of their death. What a death means for the
piece of work in hand is decided here.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.outcome import Item, Result, WorkOutcome
from segfocal.cluster.ray_crew import Death, RayActor, RayCrew
from segfocal.cluster.ray_worker import WorkerAnswer, WorkerPreparation

_TICK = 1.0  # seconds between looks at the clock and at the machines
_BLAMED = 3  # pieces of work that failed on a machine: with no success it waits; done elsewhere, it is left out
_WAIT_SECONDS = 60  # at most, of such a machine, to see whether others do better


@dataclass(kw_only=True)
class _Try(Generic[Item]):
    """A piece of work, how often it was begun, and the machines on which it failed."""

    item: Item
    begun: int = 0
    nodes: list[str] = field(default_factory=list)
    started: float = 0.0


@dataclass(kw_only=True)
class _Failures:
    """What failed on a machine since it last did something: how much, how much others did, why and when it last did."""

    count: int = 0
    done_elsewhere: int = 0
    why: str = ""
    last: float = 0.0


class RayCluster:
    """Ray's workers; see `Cluster.run`.

    Args:
        settings: of the workers; Ray is started or joined.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings

    def run(
        self,
        make_work: Callable[[], Callable[[Item], Result]],
        items: Iterable[Item],
        *,
        folders: Sequence[Path] = (),
        say: Callable[[str], None] = print,
        again: Callable[[Item], Item] | None = None,
    ) -> Iterator[WorkOutcome[Item, Result]]:
        """Yield what became of each item, as `Cluster.run`, whose arguments these are.

        Args:
            make_work: called once in each worker.
            items: for what it returns.
            folders: that a machine must see.
            say: takes lines.
            again: renews an item.
        """
        from ray import cloudpickle

        memory = self.settings.memory_gib if not self.settings.gpus else None  # CUDA maps more than it takes
        with _known(folders) as known:
            preparation = WorkerPreparation(
                make_work=cloudpickle.dumps(make_work),
                imports=self.settings.imports,
                folders=known,
                memory_bytes=int(memory * 2**30) if memory else None,
            )
            with RayCrew(self.settings, preparation, say) as crew:
                yield from _Handout(self.settings, crew, items, again).outcomes()


@contextmanager
def _known(folders: Sequence[Path]) -> Iterator[list[tuple[Path, str | None]]]:
    """Yield folders with the name of a file in each that can be written to; the files are gone afterwards."""
    token = f".segfocal_{uuid.uuid4().hex[:8]}"
    known: list[tuple[Path, str | None]] = []
    with ExitStack() as stack:
        for folder in folders:
            path = folder.absolute()
            try:
                (path / token).touch()
            except OSError:
                known.append((path, None))
            else:
                stack.callback((path / token).unlink, missing_ok=True)
                known.append((path, token))
        yield known


class _Handout(Generic[Item, Result]):
    """The pieces of work that are waiting, and those in hand."""

    def __init__(
        self,
        settings: ClusterSettings,
        crew: RayCrew,
        items: Iterable[Item],
        renewed: Callable[[Item], Item] | None,
    ) -> None:
        self.settings, self.crew, self.renewed = settings, crew, renewed
        self.coming, self.more = iter(items), True
        self.again: deque[_Try[Item]] = deque()
        self.next: _Try[Item] | None = None
        self.in_hand: dict[Any, tuple[RayActor, _Try[Item]]] = {}  # by the reference of the answer
        self.failed = defaultdict[str, _Failures](_Failures)  # by machine, since it last did something

    def outcomes(self) -> Iterator[WorkOutcome[Item, Result]]:
        while self._look_ahead() or self.again or self.in_hand:
            if self.next or self.again:
                self.crew.grow(None if self.more else len(self.again) + (self.next is not None))
            self._hand_out()
            for reference, answer in self.crew.answers(list(self.in_hand), timeout=_TICK):
                worker, one = self.in_hand.pop(reference)
                if isinstance(answer, Death):
                    self.crew.end(worker)
                else:
                    self.crew.free(worker)
                yield from self._ended(one, worker, answer)
            yield from self._overdue()

    def _look_ahead(self) -> bool:
        """Take the next item, unless one is taken already; say whether there is one."""
        if self.next is None and self.more:
            for item in self.coming:
                self.next = _Try(item=item)
                return True
            self.more = False
        return self.next is not None

    def _hand_out(self) -> None:
        """Give each free worker something to do."""
        for worker in self.crew.free_workers():
            one = self._fitting(worker)
            if one is None:
                continue
            if one.begun and self.renewed:
                one.item = self.renewed(one.item)
            one.begun, one.started = one.begun + 1, time.monotonic()
            self.in_hand[self.crew.begin(worker, one.item)] = worker, one

    def _fitting(self, worker: RayActor) -> _Try[Item] | None:
        """Return what to give a worker: what failed on other machines, then the next, then what failed on its own."""
        others = any(node != worker.machine.node for node in self.crew.nodes())
        for one in self.again:
            if worker.machine.node not in one.nodes:
                self.again.remove(one)
                return one
        if self._waits(worker.machine.node):
            return None
        if self._look_ahead():
            coming, self.next = self.next, None
            return coming
        for one in self.again:
            if not others or set(one.nodes) >= self.crew.nodes():
                self.again.remove(one)
                return one
        return None

    def _ended(
        self, one: _Try[Item], worker: RayActor, answer: WorkerAnswer | Death
    ) -> Iterator[WorkOutcome[Item, Result]]:
        """Yield the outcome of a try, unless it is tried again."""
        if isinstance(answer, Death):
            yield from self._failed(one, worker, f"its worker died ({answer.why})")
        elif answer.failure is not None and answer.elsewhere:
            yield from self._failed(one, worker, answer.failure)
        else:
            if answer.failure is None:
                self._succeeded(one, worker.machine.node)
            yield self._outcome(one, worker, result=answer.result, failure=answer.failure)

    def _succeeded(self, one: _Try[Item], node: str) -> None:
        """Leave out machines that fail what others do, as one whose disk is full."""
        self.failed.pop(node, None)
        for other in {*one.nodes} - {node}:
            failures = self.failed[other]
            failures.done_elsewhere += 1
            if failures.done_elsewhere >= _BLAMED:
                self.crew.leave_out(other, failures.why)

    def _waits(self, node: str) -> bool:
        """Say whether a machine that only fails gets nothing new while others may show whose fault that is."""
        failures = self.failed.get(node)
        if failures is None or failures.count < _BLAMED or time.monotonic() - failures.last > _WAIT_SECONDS:
            return False
        others = self.crew.prospects() - {node}
        return any(other not in self.failed or self.failed[other].count < _BLAMED for other in others)

    def _failed(self, one: _Try[Item], worker: RayActor, why: str) -> Iterator[WorkOutcome[Item, Result]]:
        """Yield the last failure of a piece of work, or put it back."""
        node = worker.machine.node
        one.nodes.append(node)
        failures = self.failed[node]
        failures.count, failures.why, failures.last = failures.count + 1, why, time.monotonic()
        alive = self.crew.alive()
        tries = sum(node in alive for node in one.nodes)  # the end of a machine, told late at times, is not its fault
        if tries <= self.settings.retries:
            self.again.append(one)
            return
        times = f"given up after {tries} tries, the last on {worker.machine.host}: " if tries > 1 else ""
        yield self._outcome(one, worker, failure=f"{times}{why}")

    def _overdue(self) -> Iterator[WorkOutcome[Item, Result]]:
        """End the workers of what takes longer than it may."""
        if self.settings.case_minutes is None:
            return
        now, limit = time.monotonic(), 60 * self.settings.case_minutes
        for reference, (worker, one) in list(self.in_hand.items()):
            if now - one.started > limit:
                del self.in_hand[reference]
                self.crew.end(worker)
                yield from self._failed(one, worker, f"it took longer than case_minutes={self.settings.case_minutes:g}")

    def _outcome(self, one: _Try[Item], worker: RayActor, **found: Any) -> WorkOutcome[Item, Result]:
        seconds = time.monotonic() - one.started
        machine = worker.machine
        return WorkOutcome(
            item=one.item, tries=one.begun, seconds=seconds, worker=worker.name, node=machine.host, **found
        )
