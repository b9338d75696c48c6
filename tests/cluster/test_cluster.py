"""Work in this process, by the same call as on a cluster; and a cluster without Ray."""

import importlib.util

import pytest

from segfocal.cluster.cluster import started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError


def reciprocal():
    return lambda number: 1 / number


def test_what_fails_is_an_outcome_and_stops_nothing():
    with started(ClusterSettings()) as cluster:
        found = list(cluster.run(reciprocal, [2, 0, 4]))
    assert [one.item for one in found] == [2, 0, 4]
    assert [one.result for one in found] == [0.5, None, 0.25]
    assert [one.done for one in found] == [True, False, True]
    assert found[1].failure == "a fault in segfocal: ZeroDivisionError: division by zero"


def test_an_item_is_taken_only_when_the_one_before_has_ended():
    taken = []
    with started(ClusterSettings()) as cluster:
        for outcome in cluster.run(reciprocal, (taken.append(n) or n for n in range(1, 4))):
            assert taken[-1] == outcome.item


def test_what_making_the_work_raises_is_raised():
    def broken():
        raise UserError(expected="a model", found="none", do="give one")

    with started(ClusterSettings()) as cluster, pytest.raises(UserError, match="a model"):
        next(cluster.run(broken, [1]))


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    with pytest.raises(UserError, match=r"pip install .*\[ray\]") as told, started(ClusterSettings(kind="ray")):
        pass
    assert "\n" not in str(told.value)
