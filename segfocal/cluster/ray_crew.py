"""The workers: as many as are wanted and find room, made where Ray places them, left out where they cannot work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.ray_worker import Machine, RayWorker, WorkerAnswer, WorkerPreparation, versions
from segfocal.errors import UserError
from segfocal.plain_text import visible

_LOST_STARTS = 3  # workers in a row that die before their first piece of work
_ROOM_SECONDS = 60  # after which a person is told that there is no room
_TOLD = {"CPU": ("cores", 1), "GPU": ("GPUs", 1), "memory": ("GiB of memory", 2**30)}  # resources: name, unit
_TICK = 0.2  # seconds between looks where no piece of work is in hand


@dataclass(frozen=True, kw_only=True)
class Death:
    """That a worker died. why: in short."""

    why: str


@dataclass(eq=False)
class RayActor:
    """A Ray actor.

    Args:
        name: no other has it.
        actor: Ray's handle.
        since: when it was asked for, of time.monotonic().
        place: where it is; None until it has a process.
    """

    name: str
    actor: Any
    since: float
    place: Machine | None = None

    @property
    def machine(self) -> Machine:
        """Where it is, known of one that has begun."""
        assert self.place is not None
        return self.place


class RayCrew:
    """The workers of one run; all are ended when the block ends.

    Args:
        settings: of a worker, and how many.
        preparation: what each does first.
        say: takes a line on machines that are left out.
    """

    def __init__(self, settings: ClusterSettings, preparation: WorkerPreparation, say: Callable[[str], None]) -> None:
        import ray

        self.ray, self.settings, self.say = ray, settings, say
        self.preparation = preparation
        self.starting: dict[Any, RayActor] = {}  # by the reference of what they are asked
        self.ready: set[RayActor] = set()
        self.idle: list[RayActor] = []
        self.left_out: dict[str, WorkerAnswer] = {}  # what they said, by node
        self.lost_starts, self.count, self.told = 0, 0, False

    def __enter__(self) -> RayCrew:
        self._check_room()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self.ready, *self.starting.values()]:
            self.end(worker)

    def grow(self, wanted: int | None) -> None:
        """Ask for more workers where more are wanted: at once the least number, then one a machine at a time.

        One that finds no room waits for it, on a machine that joins later or that Ray's autoscaler starts.

        Args:
            wanted: how many more have something to do; None: as many as there may be.
        """
        least, most = self.settings.actors[0], self.settings.most
        waiting = max(least - len(self.ready), len(self.usable_nodes()), 1)
        waiting = waiting if wanted is None else min(waiting, wanted)
        while len(self.starting) < waiting and len(self.starting) + len(self.ready) < most:
            self._start()
        oldest = min((worker.since for worker in self.starting.values()), default=time.monotonic())
        if not self.ready and not self.told and time.monotonic() - oldest > _ROOM_SECONDS:
            self.told = True
            self.say(f"waiting for room on the cluster for a worker of {self._asked()}")

    def usable_nodes(self) -> set[str]:
        """Return the machines that are there, may be asked and have, when nothing else runs, what a worker takes."""
        asked = self.settings.resources
        return {
            node["NodeID"]
            for node in self.ray.nodes()
            if node["Alive"]
            and node["NodeID"] not in self.left_out
            and all(node["Resources"].get(name, 0) >= amount for name, amount in asked.items())
        }

    def nodes(self) -> set[str]:
        """Return the machines that have workers."""
        return {worker.machine.node for worker in self.ready}

    def prospects(self) -> set[str]:
        """Return the machines that have workers, or may have one that is asked for."""
        return self.nodes() | (self.usable_nodes() if self.starting else set())

    def free_workers(self) -> list[RayActor]:
        """Return workers without work."""
        return list(self.idle)

    def begin(self, worker: RayActor, item: Any) -> Any:
        """Give a free worker a piece of work; return the reference of its answer."""
        self.idle.remove(worker)
        return worker.actor.do.remote(item)

    def leave_out(self, node: str, why: str) -> None:
        """End the workers of a machine and ask no more of it, unless no other is left."""
        here = [
            worker for worker in (*self.ready, *self.starting.values()) if worker.place and worker.place.node == node
        ]
        if not here or self.usable_nodes() <= {node}:
            return
        for worker in here:
            self.end(worker)
        self.left_out[node] = WorkerAnswer(failure=why)
        self.say(f"  node {here[0].machine.host} is left out: it fails what others do. {why}")

    def free(self, worker: RayActor) -> None:
        """Note that a worker has nothing to do."""
        if worker in self.ready:
            self.idle.append(worker)

    def end(self, worker: RayActor) -> None:
        """End a worker's process, whatever it does."""
        self._forget(worker)
        with suppress(Exception):  # of one that is gone, Ray raises what it likes
            self.ray.kill(worker.actor)

    def answers(self, references: Sequence[Any], *, timeout: float) -> Iterator[tuple[Any, WorkerAnswer | Death]]:
        """Yield the answers that are there within some seconds, and the deaths of workers.

        It returns before that when a worker becomes ready.
        """
        waited_for = [*references, *self.starting]
        if not waited_for:
            time.sleep(_TICK)
            return
        self.ray.wait(waited_for, num_returns=1, timeout=timeout)
        done, _ = self.ray.wait(waited_for, num_returns=len(waited_for), timeout=0)
        self._settle(done)
        for reference in done:
            if reference in references:
                yield reference, self._answer(reference)

    def alive(self) -> set[str]:
        """Return the machines that are there."""
        return {one["NodeID"] for one in self.ray.nodes() if one["Alive"]}

    def _answer(self, reference: Any) -> Any:
        """Return what a worker answered, or that it has died."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return Death(why=_in_short(error))

    def _start(self) -> None:
        self.count += 1
        resources = dict(self.settings.resources)
        placed: dict[str, Any] = {"num_cpus": resources.pop("CPU"), "num_gpus": resources.pop("GPU", 0), **resources}
        if self.left_out:
            placed["label_selector"] = {"ray.io/node-id": f"!in({','.join(self.left_out)})"}
        remote = self.ray.remote(RayWorker).options(scheduling_strategy="SPREAD", max_restarts=0, **placed)
        worker = RayActor(name=f"worker{self.count}", actor=remote.remote(), since=time.monotonic())
        self.starting[worker.actor.machine.remote()] = worker

    def _settle(self, done: Sequence[Any]) -> None:
        """Take workers that start one step further: where they are, then prepared, then ready."""
        for reference in [one for one in self.starting if one in done]:
            worker, answer = self.starting.pop(reference), self._answer(reference)
            if isinstance(answer, Death):
                self._lost(worker, answer.why)
            elif isinstance(answer, Machine):
                worker.place = answer
                self._prepare(worker)
            elif answer.failure is not None:
                self._leave_out(worker, answer)
            else:
                self.ready.add(worker)
                self.idle.append(worker)
                self.lost_starts = 0

    def _prepare(self, worker: RayActor) -> None:
        """Have a worker load its model, unless its versions are others."""
        own, there = versions(), worker.machine.versions
        if there != own:
            name = next(name for name in own if own[name] != there.get(name))
            why = f"expected {name} {own[name]}; found {there.get(name)}. Install the same one there."
            self._leave_out(worker, WorkerAnswer(failure=why))
        else:
            self.starting[worker.actor.prepare.remote(self.preparation)] = worker

    def _leave_out(self, worker: RayActor, answer: WorkerAnswer) -> None:
        """Ask no more of a worker's machine; raise what it said where no other is left."""
        machine = worker.machine
        for one in [worker, *(one for one in self.starting.values() if one.place == machine)]:
            self.end(one)
        self.left_out.setdefault(machine.node, answer)
        if self.usable_nodes():
            self.say(f"  node {machine.host} is left out: {answer.failure}")
            return
        if answer.error is not None:
            raise answer.error
        raise UserError(
            expected="a node that can do the work",
            found=f"{len(self.left_out)} that cannot: {answer.failure}".rstrip("."),
            do="set up the nodes alike: docs/scale.md",
        )

    def _lost(self, worker: RayActor, why: str) -> None:
        """Note that a worker died while it started; UserError where several did and none is left."""
        self._forget(worker)
        self.lost_starts += 1
        if self.lost_starts >= _LOST_STARTS and not self.ready:
            where = f" on {worker.place.host}" if worker.place else ""
            raise UserError(
                expected="workers that load what the work needs",
                found=f"{self.lost_starts} that died before{where}: {why}",
                do="set up the nodes alike, and look at their memory (cluster.memory_gib)",
            )

    def _forget(self, worker: RayActor) -> None:
        self.ready.discard(worker)
        self.idle = [one for one in self.idle if one is not worker]
        self.starting = {reference: one for reference, one in self.starting.items() if one is not worker}

    def _check_room(self) -> None:
        """Raise UserError where no machine could ever have what a worker takes."""
        if self.usable_nodes():
            return
        names = {name: max((node["Resources"].get(name, 0) for node in self.ray.nodes()), default=0) for name in _TOLD}
        most = ", ".join(f"{amount / _TOLD[name][1]:.3g} {_TOLD[name][0]}" for name, amount in names.items())
        raise UserError(
            expected=f"a node with {self._asked()} for a worker",
            found=f"none; the largest amounts are {most}",
            do="change cluster.gpus, cluster.cpus or cluster.memory_gib, or join another cluster (cluster.address)",
        )

    def _asked(self) -> str:
        parts = self.settings.resources
        return ", ".join(f"{amount / _TOLD[name][1]:.3g} {_TOLD[name][0]}" for name, amount in parts.items())


def _in_short(error: Any) -> str:
    """Return Ray's words on a death in one line: the last one of what an import raised, else the reason."""
    text = str(error)
    if getattr(error, "actor_init_failed", False):
        return visible(text.strip().splitlines()[-1][:200], lines=False)
    if "OUT_OF_MEMORY" in text or "running low on memory" in text:
        return "the machine ran out of memory"
    return "its process ended, as one that crashes or that the system ends for want of memory"
