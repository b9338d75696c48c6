"""Ray, started on this machine's loopback for one command, or joined where it runs; left as it was found.

A Ray runs whatever it is told to by whoever reaches its ports. One that is started here listens on the loopback alone
and asks for a token that only this process and its workers know, without which other users of the machine could use it.
Source: Ray's security documentation.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.cluster.ray_tasks import RayCluster
from segfocal.errors import UserError

_STARTS = 4  # tries
_PATIENCE = 10  # seconds for an address to answer
_STORE_BYTES = 100 << 20  # of shared memory: nothing but paths and reports travels
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what Ray does by default where firewalls ask
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
_QUIET |= {"RAY_raylet_start_wait_time_s": "60"}  # 30 by default, which a busy machine can take
_INSTALL = "install it on each machine: pip install -c constraints.txt -e '.[ray]'"


@contextmanager
def ray_cluster(settings: ClusterSettings) -> Iterator[RayCluster]:
    """Yield a Ray cluster, started or joined; it is stopped or left when the block ends.

    Raises:
        UserError: Ray is not installed or cannot be started, an address that answers nothing, other versions there.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(expected="Ray for cluster=ray", found="none installed", do=_INSTALL)
    if settings.address is not None:
        _check_answers(settings.address)
    own = {} if settings.address else _LOOPBACK_ONLY | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    with _environment(_QUIET | own):
        import ray

        if ray.is_initialized():
            raise UserError(
                expected="a process without Ray for cluster=ray",
                found="one that has started or joined it",
                do="call ray.shutdown() first, or use cluster=none",
            )
        _connect(ray, settings)
        try:
            yield RayCluster(settings)
        finally:
            ray.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@cache
def _token() -> str:
    """Return the secret of this process; Ray reads it once."""
    return secrets.token_hex(32)


def _connect(ray: Any, settings: ClusterSettings) -> None:
    """Start Ray, or join the one at an address."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    ray._private.worker._worker_logs_enabled = False  # its paragraph on each worker that dies; ours is a line
    if settings.address is None:
        own: dict[str, Any] = {
            "include_dashboard": settings.dashboard,
            "dashboard_host": "127.0.0.1",
            "num_cpus": _cores(),
        }
        _start(ray, object_store_memory=_STORE_BYTES, **own, **quiet)
        _check_loopback(ray)
        return
    try:
        ray.init(address=settings.address, **quiet)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError, its own and grpc's
        found = " ".join(str(error).split())[:300]
        raise UserError(
            expected=f"a Ray cluster at cluster.address={settings.address}",
            found=found or type(error).__name__,
            do="start it there (ray start --head), with the Python, Ray and token of this machine: docs/scale.md",
        ) from error


def _start(ray: Any, **options: Any) -> None:
    """Start Ray on this machine; it gives itself a minute, which on a busy one takes several tries."""
    for left in reversed(range(_STARTS)):
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:  # Ray raises what it likes, plain Exception too
            if left and "timed out during startup" in str(error):
                ray.shutdown()
                continue
            raise UserError(
                expected="a Ray that starts on this machine",
                found=" ".join(str(error).split())[:300] or type(error).__name__,
                do="look at the memory and the folder of temporary files (TMPDIR), or use part=i/n without Ray",
            ) from error


def _cores() -> int:
    """Return the cores that this process may use, of a job that has only some, too."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_loopback(ray: Any) -> None:
    """Stop a Ray that other machines could reach, as one does whose package was imported before this module's."""
    addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
    if addresses != {"127.0.0.1"}:
        ray.shutdown()
        raise UserError(
            expected="a Ray of this machine on 127.0.0.1",
            found=f"one on {', '.join(sorted(addresses))}, as ray was imported before",
            do="import ray later, or start Ray yourself and give cluster.address=auto",
        )


def _check_answers(address: str) -> None:
    """Raise UserError where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        if address in ("auto", "local"):
            return
        raise UserError(
            expected="cluster.address=auto, HOST:6379 or ray://HOST:10001",
            found=f"cluster.address={address}",
            do="change that option",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(
            expected=f"a Ray cluster at cluster.address={address}",
            found=f"nothing that answers there ({getattr(error, 'strerror', None) or error})",
            do="start it (ray start --head), open its port, or leave cluster.address out: docs/scale.md",
        ) from error
