"""A socket that listens, and an application that answers at it until the process is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from segfocal.errors import UserError
from segfocal.serve.address import Address

_PATIENCE = 5  # seconds for requests that are being answered when the server is told to end
_QUEUE = 64  # connections that wait to be taken


def answer(app: FastAPI, place: socket.socket, *, ready: Callable[[], Any]) -> None:
    """Answer at a socket until the process is told to end; `ready` is called when requests are answered."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_PATIENCE,
    )
    _Server(config, ready=ready).run(sockets=[place])


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], Any]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._ready()


def printed(options: Address, key: str) -> str:
    """Return the address that a browser opens; it shows the key."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}/?token={key}"


def listening(options: Address) -> socket.socket:
    """Return a socket that listens; UserError where the port is taken."""
    host = "127.0.0.1" if options.host == "localhost" else options.host
    place = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, options.port))
        place.listen(_QUEUE)
    except OSError as error:
        place.close()
        raise UserError(
            expected=f"port {options.port} of {host} to listen on",
            found=(error.strerror or str(error)).lower(),
            do="add port=0 for any that is free, or end the other server",
        ) from error
    return place
