"""Work beside what makes its items: in order, one item ahead at most, and no error of either side lost."""

import threading
import weakref

import pytest

from segfocal.parallel import beside


class Item:
    """Something that knows its number, and can be missed."""

    def __init__(self, number):
        self.number = number


def test_items_are_worked_on_in_order_in_one_other_thread():
    seen = []
    beside(lambda number: seen.append((number, threading.current_thread())), range(50))
    assert [number for number, _ in seen] == list(range(50))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] is not threading.current_thread()
    assert not seen[0][1].is_alive()


def test_an_item_is_made_while_the_one_before_is_worked_on():
    making = threading.Event()

    def items():
        yield 0
        making.set()
        yield 1

    seen = []
    beside(lambda number: seen.append((number, making.wait(60))), items())
    assert seen == [(0, True), (1, True)]


def test_items_are_not_kept():
    made, most = [], []

    def items():
        for number in range(20):
            most.append(sum(one() is not None for one in made))
            item = Item(number)
            made.append(weakref.ref(item))
            yield item
            del item

    beside(lambda item: item.number, items())
    assert max(most) <= 2  # one that is worked on, and one that the thread may just be letting go


def test_an_error_of_the_work_is_raised_here_and_ends_the_making():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    def work(number):
        if number == 3:
            raise MemoryError("of the fourth")

    with pytest.raises(MemoryError, match="of the fourth"):
        beside(work, items())
    assert made == list(range(5))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_of_the_making_is_raised_after_the_work_that_was_begun(error):
    seen = []

    def items():
        yield from range(3)
        raise error("stop")

    before = threading.active_count()
    with pytest.raises(error, match="stop"):
        beside(seen.append, items())
    assert seen == [0, 1, 2]
    assert threading.active_count() == before


def test_without_items_nothing_is_done():
    beside(lambda _: pytest.fail("worked"), [])
