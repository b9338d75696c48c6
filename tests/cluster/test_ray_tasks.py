"""What is done with a piece of work whose worker or machine fails, with workers that need no Ray."""

from types import SimpleNamespace

import pytest

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.ray_tasks import _Handout
from segfocal.cluster.ray_worker import WorkerAnswer


class Crew:
    """Workers, one a node, that answer at once.

    Args:
        work: called with the node and the item; returns the answer.
        nodes: their names.
    """

    def __init__(self, work, nodes):
        self.work, self.left = work, {}
        self.workers = [SimpleNamespace(name=n, machine=SimpleNamespace(node=n, host=n)) for n in nodes]
        self.idle, self.hands = list(self.workers), {}

    def nodes(self):
        return {worker.name for worker in self.workers}

    alive = prospects = nodes

    def grow(self, wanted):
        pass

    def free_workers(self):
        return list(self.idle)

    def begin(self, worker, item):
        self.idle.remove(worker)
        reference = object()
        self.hands[reference] = self.work(worker.name, item)
        return reference

    def answers(self, references, *, timeout):
        return [(reference, self.hands.pop(reference)) for reference in references]

    def free(self, worker):
        if worker in self.workers:
            self.idle.append(worker)

    def end(self, worker):
        self.workers.remove(worker)

    def leave_out(self, node, why):
        self.left[node] = why
        self.workers = [worker for worker in self.workers if worker.name != node]
        self.idle = [worker for worker in self.idle if worker.name != node]


def handed_out(work, *, nodes, items, retries=2, crew=Crew):
    tried = []

    def noted(node, item):
        tried.append((node, item))
        return work(node, item)

    made = crew(noted, nodes)
    outcomes = list(_Handout(ClusterSettings(kind="ray", retries=retries), made, range(items), None).outcomes())
    return outcomes, made, tried


def full(node, item):
    """A machine whose disk is full, and others."""
    return WorkerAnswer(failure="no space", elsewhere=True) if node == "full" else WorkerAnswer(result=item)


def test_a_machine_that_fails_what_others_do_is_left_out_and_all_is_done():
    outcomes, crew, tried = handed_out(full, nodes=["full", "b", "c"], items=50)
    assert sorted(outcome.result for outcome in outcomes) == list(range(50))
    assert crew.left == {"full": "no space"}
    assert sum(node == "full" for node, _ in tried) == 3


def test_a_machine_that_only_fails_waits_for_those_that_have_yet_to_start():
    class Late(Crew):
        """A node is ready at once, the other one when it was looked for ten times."""

        looks = 0

        def prospects(self):
            return {"full", "late"}

        def free_workers(self):
            self.looks += 1
            return [worker for worker in self.idle if worker.name == "full" or self.looks > 10]

    outcomes, _, tried = handed_out(full, nodes=["full", "late"], items=20, crew=Late)
    assert sorted(outcome.result for outcome in outcomes) == list(range(20))
    assert [item for node, item in tried if node == "full"] == [0, 1, 2]


def test_one_machine_alone_tries_all_of_it_as_often_as_it_may():
    outcomes, _, tried = handed_out(full, nodes=["full"], items=5, retries=1)
    assert [outcome.done for outcome in outcomes] == [False] * 5
    assert sorted(item for _, item in tried) == sorted([*range(5)] * 2)


@pytest.mark.parametrize("every", [2, 3])
def test_work_that_fails_everywhere_is_not_the_machines_fault(every):
    def poison(node, item):
        return WorkerAnswer(failure="crash", elsewhere=True) if item % every == 0 else WorkerAnswer(result=item)

    outcomes, crew, tried = handed_out(poison, nodes=["a", "b", "c"], items=30)
    assert crew.left == {}
    assert {outcome.item for outcome in outcomes if not outcome.done} == set(range(0, 30, every))
    assert all(len({node for node, one in tried if one == item}) == 3 for item in range(0, 30, every))


def test_a_machine_that_fails_at_times_goes_on():
    def shaky(node, item):
        fails = node == "shaky" and item % 4 == 0
        return WorkerAnswer(failure="torn", elsewhere=True) if fails else WorkerAnswer(result=item)

    outcomes, crew, _ = handed_out(shaky, nodes=["shaky", "b"], items=60)
    assert (len(outcomes), crew.left) == (60, {})
    assert all(outcome.done for outcome in outcomes)
