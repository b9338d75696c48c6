"""Ray on this machine: on the loopback, with what a worker may take; each way in which it cannot be had is one line."""

import importlib.util
import os
import socket
import time

import psutil
import pytest

from segfocal.cluster import ray_crew
from segfocal.cluster.cluster import started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")


def settings(**changes):
    given = {"actors": [1, 2], "retries": 1, "case_minutes": 0.05, "memory_gib": 1.0, "cpus": 1}
    return ClusterSettings.of({"kind": "ray", **given, **changes})


def work_of(**does):
    """Return what makes work that answers a name by calling what it stands for; it travels by value."""

    def make():
        return lambda name: does[name]()

    return make


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:{port}", "nothing that answers there"), ("ray://127.0.0.1:{port}", "nothing that answers there"),
     ("nowhere", "HOST:6379"), ("127.0.0.1:port", "nothing that answers there")],
)  # fmt: skip
def test_an_address_that_answers_nothing_is_one_line(address, says):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        address = address.format(port=taken.getsockname()[1])
        with pytest.raises(UserError, match=says) as told, started(settings(address=address)):
            pass
    assert "\n" not in str(told.value)
    assert address in str(told.value)


@pytest.mark.slow
def test_a_worker_that_dies_hangs_or_takes_too_much_costs_its_own_piece_of_work_alone(tmp_path):
    does = {
        "one": lambda: 1,
        "dies": lambda: os._exit(1),
        "hangs": lambda: time.sleep(1000),
        "grows": lambda: len(bytearray(3 << 30)),
        "two": lambda: 2,
        "three": lambda: 3,
    }
    said = []
    with started(settings()) as cluster:
        own = psutil.Process()
        ports = [
            one
            for process in [own, *own.children(recursive=True)]
            for one in process.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]
        found = {o.item: o for o in cluster.run(work_of(**does), list(does), folders=[tmp_path], say=said.append)}
    assert ports
    assert {one.laddr.ip.removeprefix("::ffff:") for one in ports} == {"127.0.0.1"}
    assert {name: one.result for name, one in found.items() if one.done} == {"one": 1, "two": 2, "three": 3}
    assert "its worker died" in found["dies"].failure
    assert "longer than case_minutes=0.05" in found["hangs"].failure
    assert "MemoryError" in found["grows"].failure
    assert {found[name].tries for name in ("dies", "hangs", "grows")} == {2}
    assert {one.tries for one in found.values() if one.done} == {1}
    assert all("\n" not in one.failure for one in found.values() if not one.done)
    assert said == []
    assert list(tmp_path.iterdir()) == []  # the file by which the folder was known
    assert not any("ray" in process.name() for process in own.children(recursive=True))


@pytest.mark.slow
def test_what_no_node_has_is_one_line(monkeypatch):
    def broken():
        raise UserError(expected="a bundle", found="none", do="give one")

    with started(settings(gpus=1)) as cluster, pytest.raises(UserError, match=r"1 GPUs, .*; found none") as told:
        next(cluster.run(work_of(), ["x"]))
    assert "cluster.gpus" in str(told.value)
    with started(settings()) as cluster:
        with pytest.raises(UserError, match=r"^expected a bundle; found none"):
            next(cluster.run(lambda: broken(), ["x"]))
        monkeypatch.setattr(ray_crew, "versions", lambda: {"segfocal": "0.0.1", "Python": "3.11"})
        with pytest.raises(UserError, match=r"expected segfocal 0\.0\.1; found"):
            next(cluster.run(work_of(x=lambda: 1), ["x"]))
