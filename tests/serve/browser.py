"""A real Chromium without a window, and a server in a thread for it to talk to."""

import shutil
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.served import KEY, options_in, perfect_predictor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL 2 without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"laptop": (1280, 800), "desk": (1920, 1080)}


@contextmanager
def served(folder, predictor=None, *, first=None, **changes):
    """Serve scans of a folder in a thread; yield the address with its key. `first` may do something to what serves."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from segfocal.serve.http_app import Serving, build_app

    place = socket.create_server(("127.0.0.1", 0))
    port = place.getsockname()[1]
    serving = Serving.of(options_in(folder, port=port, **changes), predictor or perfect_predictor())
    if first is not None:
        first(serving)
    config = uvicorn.Config(build_app(serving, key=KEY), log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/?token={KEY}"
    finally:
        server.should_exit = True
        thread.join(60)
        place.close()


@contextmanager
def chromium():
    """Yield a browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A person with a mouse and keys in front of the page; remembers what the page asked for and complained of."""

    def __init__(self, browser, address, *, size="laptop", scheme="dark"):
        width, height = SIZES[size]
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.host = address.split("/?")[0]
        self.asked, self.sent, self.complaints = [], [], []
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.complaints.append(line.text))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")

    def _note(self, request):
        self.asked.append(request.url)
        if request.method != "GET" and request.headers.get("content-type") == "application/json":
            self.sent.append((request.url.rsplit("/", 1)[-1], request.post_data_json))

    @property
    def foreign(self):
        """Addresses that are not of the host."""
        return [url for url in self.asked if not url.startswith((f"{self.host}/", "data:", f"blob:{self.host}/"))]

    def open(self, name):
        self.page.click(f".scan:has-text('{name}')")
        self.page.wait_for_selector("#empty", state="hidden")
        self.rest()

    def rest(self):
        """Wait until the server has answered and the picture is drawn."""
        self.page.wait_for_selector("body:not(.busy)")
        self.page.wait_for_selector("#job", state="hidden")
        self.page.wait_for_selector("#view[data-whole=true]")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        self.rest()

    def pixel(self, place, plane="axial"):
        """Return where a place in world mm is seen in a plane, in pixels of the page."""
        box = self.page.locator("#marks").bounding_box()
        tile = "segfocal.viewer.tiles.find(tile => tile.plane.name === plane)"
        x, y = self.page.evaluate(f"([place, plane]) => segfocal.viewer.project(place, {tile})", [place, plane])
        return box["x"] + x, box["y"] + y

    def click(self, place, plane="axial"):
        self.page.mouse.click(*self.pixel(place, plane))
        self.rest()

    def draw(self, *places, plane="axial"):
        """Hold the button down from the first place to the last."""
        self.page.mouse.move(*self.pixel(places[0], plane))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.pixel(place, plane), steps=4)
        self.page.mouse.up()
        self.rest()

    def picture(self, path):
        self.rest()
        self.page.screenshot(path=path)
        return Path(path)
