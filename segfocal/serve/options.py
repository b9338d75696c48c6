"""What is asked of a server: one frozen record, checked when it is made."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.grid import check_frame
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.sliding.sliding_options import SlidingOptions

LEAST_KEY = 16  # characters of a key that others could try to guess


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """How much of the machine the server takes.

    Args:
        sessions: scans in memory at a time.
        idle_minutes: without a request, after which a session leaves memory; it stays on disk.
        upload_mib: of one file that is uploaded.
        waiting: requests that wait for the model; further ones are refused.
    """

    sessions: int = 8
    idle_minutes: float = 30.0
    upload_mib: int = 2048
    waiting: int = 64

    def __post_init__(self) -> None:
        for name, low, high in (("sessions", 1, 1000), ("upload_mib", 1, 1 << 20), ("waiting", 1, 10_000)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UserError(
                    expected=f"{name} from {low} to {high}", found=f"{name}={value}", do="change that option"
                )
        if type(self.idle_minutes) not in (int, float) or not 0 < self.idle_minutes <= 10_000:
            raise UserError(
                expected="idle_minutes above 0, at most 10000",
                found=f"idle_minutes={self.idle_minutes}",
                do="change that option",
            )


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """One server.

    Args:
        bundle: the folder of the model.
        inputs: a folder, pattern or list of scans; None: scans are uploaded.
        output: the folder of corrected masks, as `train data.root=` reads it.
        sessions: the folder of sessions.
        host: the address it listens on; others than this machine's own need a key.
        port: 0 takes any that is free.
        key: what requests must show; None makes one up and keeps it beside the sessions.
        viewer_axes: three letters, where the axes of arrays from other viewers point to; None goes by their spacing.
        limits: of memory, uploads and patience.
        propagation: what a slice hands on to the next one, and where that ends.
        sliding: how windows slide without a prompt.
        device: of the network; by default the GPU, if there is one.

    Raises:
        UserError: a host that is no address, another machine's access without a key, a key too short, a port that
            cannot be.
    """

    bundle: Path
    inputs: Path | None
    output: Path
    sessions: Path
    host: str = "127.0.0.1"
    port: int = 1527
    key: str | None = None
    viewer_axes: str | None = None
    limits: ServeLimits = field(default_factory=ServeLimits)
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    sliding: SlidingOptions = field(default_factory=SlidingOptions)
    device: torch.device = field(default_factory=lambda: choose_device("auto"))

    def __post_init__(self) -> None:
        if type(self.port) is not int or not 0 <= self.port < 65536:
            raise UserError(expected="port from 0 to 65535", found=f"port={self.port}", do="change that option")
        if not isinstance(self.host, str) or _address(self.host) is None:
            raise UserError(
                expected="an address for host, as 127.0.0.1 or 0.0.0.0", found=f"host={self.host}", do="give a number"
            )
        if not self.is_local and self.key is None:
            raise UserError(
                expected=f"key=… of {LEAST_KEY} characters or more for a server that other machines can reach",
                found=f"host={self.host} without a key",
                do="add a key, or leave out host: the server then answers this machine alone",
            )
        if self.key is not None and not _is_key(self.key):
            raise UserError(
                expected=f"a key of {LEAST_KEY} to 256 letters, digits, - or _",
                found="another one",
                do='make one, as with: python -c "import secrets; print(secrets.token_urlsafe())"',
            )
        _check_axes(self.viewer_axes)

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        address = _address(self.host)
        return address is not None and address.is_loopback


def _check_axes(axes: str | None) -> None:
    try:
        check_frame("SPL" if axes is None else axes)
    except (TypeError, ValueError) as error:
        raise UserError(
            expected="viewer_axes of three letters, one each of R/L, A/P, S/I (as SAR)",
            found=f"viewer_axes={axes}",
            do="change that option, or leave it out",
        ) from error


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None


def _is_key(key: str) -> bool:
    fine = isinstance(key, str) and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return fine and LEAST_KEY <= len(key) <= 256
