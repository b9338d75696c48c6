"""Where a server listens and who may ask: host, port and key, checked when they are made."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from segfocal.errors import UserError

LEAST_KEY = 16  # characters of a key that others could try to guess


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens.

    Args:
        host: the address it listens on; others than this machine's own need a key.
        port: 0 takes any that is free.
        key: what requests must show; None makes one up.

    Raises:
        UserError: a host that is no address, another machine's access without a key, a key too short, a port that
            cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 1527
    key: str | None = None

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

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        address = _address(self.host)
        return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None


def _is_key(key: str) -> bool:
    fine = isinstance(key, str) and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return fine and LEAST_KEY <= len(key) <= 256
