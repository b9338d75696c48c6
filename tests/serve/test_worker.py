"""One thread for the model: requests in their order, short ones of other sessions between two steps, errors told."""

import asyncio
import threading

import pytest

from segfocal.serve.refusal import Refused
from segfocal.serve.worker import Worker


@pytest.fixture
def worker():
    begun = Worker(waiting=8)
    yield begun
    begun.stop()


def test_short_work_of_another_session_is_done_within_long_work_and_of_the_same_after_it(worker):
    done, waiting = [], threading.Event()

    def carry():
        done.append("begun")
        assert waiting.wait(60)
        worker.let_others()
        done.append("ended")

    async def ask():
        long = asyncio.ensure_future(worker.run(carry, session="a"))
        others = [
            worker.run(lambda: done.append("a clicks"), session="a", short=True),
            worker.run(lambda: done.append("b clicks"), session="b", short=True),
            worker.run(lambda: done.append("c carries"), session="c"),
            worker.run(lambda: done.append("c clicks"), session="c", short=True),
        ]
        tasks = [asyncio.ensure_future(one) for one in others]
        while not done:
            await asyncio.sleep(0)
        waiting.set()
        await asyncio.gather(long, *tasks)

    asyncio.run(ask())
    assert done == ["begun", "b clicks", "ended", "a clicks", "c carries", "c clicks"]


def test_work_beyond_what_may_wait_is_refused(worker):
    held = threading.Event()

    async def ask():
        tasks = [asyncio.ensure_future(worker.run(lambda: held.wait(60))) for _ in range(12)]
        refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        held.set()
        return [task.exception() for task in refused if task.exception()], await asyncio.gather(
            *tasks, return_exceptions=True
        )

    first, results = asyncio.run(ask())
    assert first[0].status == 503
    assert {one for one in results if one is True} == {True}


def test_an_error_of_ours_is_printed_and_told_in_one_line(worker, capsys):
    with pytest.raises(Refused, match="a fault of the server: ZeroDivisionError") as refused:
        asyncio.run(worker.run(lambda: 1 / 0))
    assert refused.value.status == 500
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert asyncio.run(worker.run(lambda: 7)) == 7
