"""From options to a server that listens: bundle → model → scans and sessions → socket → address printed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import uvicorn

from segfocal.errors import UserError
from segfocal.folder_lock import only_one
from segfocal.inference import bundle as bundles
from segfocal.inference.ensemble import members_of
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import promptable
from segfocal.serve import training_folder
from segfocal.serve.http_app import Serving, build_app
from segfocal.serve.mask import takes_prompts
from segfocal.serve.nninteractive.viewer_routes import viewer_routes
from segfocal.serve.options import ServeOptions
from segfocal.serve.sessions import keep_key
from segfocal.writable import check_writable

_PATIENCE = 5  # seconds for requests that are being answered when the server is told to end
_QUEUE = 64  # connections that wait to be taken


def serve(options: ServeOptions, *, say: Callable[[str], Any]) -> None:
    """Listen until the process is told to end; `say` is given the address when requests are answered.

    Raises:
        UserError: no bundle, no scans, a port that is taken, a folder that cannot be written or is in use.
    """
    predictor = served(options)
    check_writable(options.output / training_folder.NAMES)
    with only_one(options.sessions, doing="serve sessions"), _listening(options) as place:
        options.sessions.chmod(0o700)  # what was drawn on patients' scans is nobody else's
        here = replace(options, port=place.getsockname()[1])
        key = here.key or keep_key(here.sessions)
        serving = Serving.of(here, predictor)
        app = build_app(serving, key=key, more=[viewer_routes(serving)])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
        _Server(config, ready=lambda: say(_address(here, key))).run(sockets=[place])


def served(options: ServeOptions) -> Predictor:
    """Return the model: of an ensemble, as `auto` leaves it, all its members, whose logits are averaged.

    Raises:
        UserError: no bundle, or several of a model that answers prompts.
    """
    loaded = [bundles.load(member) for member in members_of(options.bundle)]
    predictor = Predictor(loaded, sliding=options.sliding, device=options.device)
    if takes_prompts(predictor):
        promptable(predictor)
    return predictor


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], Any]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._ready()


def _address(options: ServeOptions, key: str) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}/?token={key}"


def _listening(options: ServeOptions) -> socket.socket:
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
