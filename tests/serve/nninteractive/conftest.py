"""A server with a model that knows, listening, and the real client of the viewers."""

import importlib
import socket
import threading

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is not installed (extra dev)")

import torch
import uvicorn

from segfocal.grid import Grid
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.serve.http_app import Serving, build_app
from segfocal.serve.nninteractive.viewer_routes import viewer_routes
from segfocal.serve.options import ServeLimits, ServeOptions
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect

KEY = "a-key-of-the-tests"
BOTH = (Structure(name="liver", value=5), Structure(name="spleen", value=1))


def perfect_bundle(**changes):
    facts = {
        "model": Perfect().eval(), "model_config": {}, "grid": ModelGrid(), "window": (SIDE, SIDE), "structures": BOTH,
        "training": {}, "intensity": Window(lower=0, upper=100), "needs_prompts": True,
    }  # fmt: skip
    return Bundle(**(facts | changes))


class Server:
    """Listens in a thread until it is closed."""

    def __init__(self, folder, bundle, *, silent_seconds=60.0, **changes):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = ServeOptions(
            bundle=folder / "bundle", inputs=None, output=folder / "corrected", sessions=folder / "sessions",
            port=self.port, key=KEY, device=torch.device("cpu"), **changes,
        )  # fmt: skip
        predictor = Predictor([bundle], sliding=SlidingOptions(engine="torch"), device="cpu")
        self.serving = Serving.of(self.options, predictor)
        app = build_app(self.serving, key=KEY, more=[viewer_routes(self.serving, silent_seconds=silent_seconds)])
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        ready = threading.Event()
        begin = self.server.startup

        async def startup(sockets=None):
            await begin(sockets=sockets)
            ready.set()

        self.server.startup = startup
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        assert ready.wait(30)

    def connect(self, key=KEY):
        remote = importlib.import_module("nnInteractive.inference.remote.remote_session")
        return remote.nnInteractiveRemoteInferenceSession(self.url, api_key=key)

    def close(self):
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    """Return a function that begins a server; all are ended with the module."""
    begun = []

    def serve(bundle=None, **changes):
        folder = tmp_path_factory.mktemp("served")
        begun.append(Server(folder, bundle or perfect_bundle(), **changes))
        return begun[-1]

    yield serve
    for server in begun:
        server.close()


@pytest.fixture(scope="module")
def server(begin):
    """A server for as many viewers as the tests of a module need."""
    return begin(limits=ServeLimits(sessions=50))


def wedge(shape=(9, 20, 24)):
    """Return an image [k,j,i] with a bright structure that grows from slice 1 to slice 7, and a small one apart."""
    image = np.zeros(shape, dtype=np.int16)
    for k in range(1, 8):
        image[k, 3 : 12 + k // 3, 4 + k // 2 : 15] = 100
    image[2:7, 15:18, 19:22] = 100
    return image


SPACING = [5.0, 3.0, 2.0]


@pytest.fixture
def viewer(server):
    """A viewer that has sent its image and keeps a mask."""
    with server.connect() as session:
        session.set_image(wedge()[None], {"spacing": SPACING})
        session.set_target_buffer(np.zeros(wedge().shape, dtype=np.uint8))
        yield session


def stored_grid(shape=(9, 20, 24), spacing=SPACING):
    """Return the grid of the wedge as its file stores it [i,j,k]: axes LPS, counted by hand."""
    return Grid(shape=shape[::-1], affine=np.diag([-spacing[2], -spacing[1], spacing[0], 1.0]))
