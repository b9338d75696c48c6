"""Results of workers in the order of the items, whatever the order in which they end."""

from contextlib import contextmanager
from pathlib import Path

from segfocal.cluster import in_order
from segfocal.cluster.cluster_settings import HERE
from segfocal.cluster.in_order import results_in_order
from segfocal.cluster.outcome import WorkOutcome
from segfocal.errors import UserError


def half(number):
    """Return half of an even number."""
    if number % 2:
        raise UserError(expected="an even number", found=str(number), do="add one")
    return number // 2


def noted(number, why):
    return f"{number}: {why[:23]}"


def test_an_item_that_fails_has_what_failed_makes_of_it():
    found = list(results_in_order(HERE, half, [4, 3, 0], failed=noted))
    assert found == [2, "3: expected an even number", 0]


def test_results_wait_for_their_turn_and_come_as_soon_as_it_is_theirs(monkeypatch, tmp_path):
    ended = []

    class Backwards:
        """Two workers, of which the first takes longer than both items of the second."""

        def run(self, make_work, items, *, folders, say):
            assert folders == [Path.cwd(), tmp_path]
            work = make_work()
            for item in [items[1], items[2], items[0], items[3]]:
                ended.append(item[0])
                yield WorkOutcome(item=item, result=work(item))

    @contextmanager
    def two_workers(settings):
        yield Backwards()

    monkeypatch.setattr(in_order, "started", two_workers)
    folders = [tmp_path, tmp_path / "gone", tmp_path]
    results = results_in_order(HERE, half, [0, 2, 4, 6], failed=noted, folders=folders)
    assert next(results) == 0
    assert ended == [1, 2, 0]
    assert list(results) == [1, 2, 3]
