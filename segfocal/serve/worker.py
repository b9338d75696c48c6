"""The threads that work while the server listens: one for the model, in the order of the requests, others for files."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from segfocal.errors import UserError
from segfocal.plain_text import visible
from segfocal.serve.refusal import Refusal, refused

_FOR_FILES = 4

Result = TypeVar("Result")


class Worker:
    """Runs what takes long. Its coroutines are for the thread of the server.

    waiting: requests that may wait for the model; further ones are refused.
    """

    def __init__(self, waiting: int) -> None:
        self._most, self._waiting = waiting, 0
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._files = ThreadPoolExecutor(_FOR_FILES, thread_name_prefix="files")

    async def run(self, job: Callable[[], Result]) -> Result:
        """Run a job in the model's thread after those that came before; every error of it is a Refusal."""
        if self._waiting >= self._most:
            raise Refusal(
                503,
                expected=f"at most {self._most} requests that wait for the model",
                found="a server that is busy",
                do="try again in a few seconds",
                retry_seconds=5,
            )
        self._waiting += 1
        try:
            return await _run(self._model, job)
        finally:
            self._waiting -= 1

    async def read(self, job: Callable[[], Result]) -> Result:
        """Run a job that only reads and writes files, beside the model."""
        return await _run(self._files, job)

    def stop(self) -> None:
        """Let what runs come to its end, and begin nothing more."""
        for threads in (self._model, self._files):
            threads.shutdown(wait=True, cancel_futures=True)


async def _run(threads: ThreadPoolExecutor, job: Callable[[], Result]) -> Result:
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, job)
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
