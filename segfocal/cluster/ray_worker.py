"""A worker: a process on some machine that loads its model once and does one piece of work at a time."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import segfocal
from segfocal.cluster.worker_errors import in_one_line, is_of_the_machine
from segfocal.errors import UserError

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a worker runs, and with what.

    Args:
        node: Ray's number of the machine.
        host: its address.
        versions: of segfocal and Python.
    """

    node: str
    host: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class WorkerAnswer:
    """What a worker says of a piece of work.

    Args:
        result: of the work.
        failure: why there is none, in one line.
        elsewhere: whether another machine may do better.
        error: the failure as it was raised, where it is the user's.
    """

    result: Any = None
    failure: str | None = None
    elsewhere: bool = False
    error: UserError | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerPreparation:
    """What a worker does before its first piece of work. It is pickled and unpickled when versions are known.

    Args:
        make_work: pickled.
        imports: modules to import first.
        folders: that must be there, each with the name of a file in it by which it is known, or None.
        memory_bytes: that the worker may take from now on; None: no limit.
    """

    make_work: bytes
    imports: Sequence[str]
    folders: Sequence[tuple[Path, str | None]]
    memory_bytes: int | None


def versions() -> dict[str, str]:
    """Return the versions that all machines have in common."""
    return {"segfocal": segfocal.__version__, "Python": ".".join(platform.python_version_tuple()[:2])}


class RayWorker:
    """What runs in the process of a Ray actor. No method but `work` of what it was given raises: errors are answers."""

    def machine(self) -> Machine:
        """Return where this worker is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Machine(node=node, host=ray.util.get_node_ip_address(), versions=versions())

    def prepare(self, preparation: WorkerPreparation) -> WorkerAnswer:
        """Load what the work needs."""
        try:
            _check_folders(preparation.folders)
            for name in preparation.imports:
                import_module(name)
            if preparation.memory_bytes:
                _limit_memory(preparation.memory_bytes)
            self.work = pickle.loads(preparation.make_work)()
        except Exception as error:
            return WorkerAnswer(failure=in_one_line(error), error=error if isinstance(error, UserError) else None)
        return WorkerAnswer()

    def do(self, item: Any) -> WorkerAnswer:
        """Do a piece of work."""
        try:
            return WorkerAnswer(result=self.work(item))
        except Exception as error:
            return WorkerAnswer(failure=in_one_line(error), elsewhere=is_of_the_machine(error))


def _check_folders(folders: Sequence[tuple[Path, str | None]]) -> None:
    """Raise UserError for a folder that this machine does not see, or that is another one under the same path."""
    for folder, token in folders:
        if not folder.exists() or (token is not None and not (folder / token).exists()):
            raise UserError(
                expected=f"the folder {folder} of the machine that hands out the work",
                found="another folder under that path" if folder.exists() else "no such folder",
                do="mount it under the same path on every machine",
            )


def _limit_memory(size: int) -> None:
    """Let this process take no more private memory than `size` beyond what it has; MemoryError from there on.

    Where the system counts it so (Linux). What another process shares, as Ray's store, does not count.
    """
    try:
        import resource

        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmData"))
    except (ImportError, OSError, StopIteration):
        return
    limit = int(line.split()[1]) * 1024 + size
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
