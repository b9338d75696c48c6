"""The threads that work while the server listens: one for the model, others for files."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition, Thread, current_thread
from typing import Any, TypeVar

from segfocal.errors import UserError
from segfocal.plain_text import visible
from segfocal.serve.refusal import Refused, refused

_FOR_FILES = 4

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """Something to do in the model's thread.

    Args:
        work: to be done.
        session: that it is about; None: of none, or of all.
        short: whether it may be done between two steps of another session's work.
        result: what comes of it.
    """

    work: Callable[[], Any]
    session: str | None
    short: bool
    result: Future[Any]


class Worker:
    """Runs what takes long. Its coroutines are for the thread of the server.

    The model has one thread. Work on one session is done in the order of the requests; short work on another session
    is done between two steps of long work, so that a click does not wait until somebody else's scan is carried.

    waiting: requests that may wait for the model; further ones are refused.
    """

    def __init__(self, waiting: int) -> None:
        self._most = waiting
        self._files = ThreadPoolExecutor(_FOR_FILES, thread_name_prefix="files")
        self._jobs: deque[_Job] = deque()
        self._changed, self._stopped = Condition(), False
        self._busy: list[str | None] = []  # sessions whose work has begun, that of the innermost last
        self._thread = Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Result], *, session: str | None = None, short: bool = False) -> Result:
        """Do work in the model's thread; every error of it is a Refused.

        Args:
            work: to be done.
            session: that it is about, if it is about one.
            short: whether it may be done between two steps of another session's work.
        """
        job = _Job(work=work, session=session, short=short, result=Future())
        with self._changed:
            if len(self._jobs) >= self._most or self._stopped:
                raise _busy(self._most)
            self._jobs.append(job)
            self._changed.notify()
        return await _told(asyncio.wrap_future(job.result))

    async def read(self, work: Callable[[], Result]) -> Result:
        """Do work that only reads and writes files, beside the model."""
        return await _told(asyncio.get_running_loop().run_in_executor(self._files, work))

    def let_others(self) -> None:
        """Do the short work that waits for other sessions, between two steps of work in the model's thread."""
        while current_thread() is self._thread:
            with self._changed:
                job = self._overtaking()
                if job is None:
                    return
                self._jobs.remove(job)
            self._do(job)

    def _overtaking(self) -> _Job | None:
        """Return the first job that may be done within the work that goes on: before it, none of its session waits."""
        seen = set(self._busy)
        for job in () if self._stopped else self._jobs:
            if job.short and job.session not in seen:
                return job
            seen.add(job.session)
        return None

    def stop(self) -> None:
        """Let what runs come to its end, and begin nothing more."""
        with self._changed:
            self._stopped = True
            for job in self._jobs:
                job.result.cancel()
            self._jobs.clear()
            self._changed.notify()
        self._thread.join()
        self._files.shutdown(wait=True, cancel_futures=True)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._stopped)
                if self._stopped:
                    return
                job = self._jobs.popleft()
            self._do(job)

    def _do(self, job: _Job) -> None:
        if not job.result.set_running_or_notify_cancel():
            return
        self._busy.append(job.session)
        try:
            job.result.set_result(job.work())
        except BaseException as error:
            job.result.set_exception(error)
        finally:
            self._busy.pop()


def _busy(most: int) -> Refused:
    return Refused(
        503,
        expected=f"at most {most} requests that wait for the model",
        found="a server that is busy",
        do="try again in a few seconds",
        retry_seconds=5,
    )


async def _told(result: Awaitable[Result]) -> Result:
    """Wait for a result; every error is a Refused, and a fault of ours is printed."""
    try:
        return await result
    except Exception as error:
        refusal = refused(error)
        if refusal.status == 500:
            tell(error)
        raise refusal from error


def tell(error: BaseException) -> None:
    """Print a fault of ours with its traceback, as commands do."""
    if not isinstance(error, UserError):
        print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        print("error: a fault in segfocal; please report the lines above", file=sys.stderr, flush=True)
