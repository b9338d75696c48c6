"""The command itself: it says when it is ready, outlives nothing that it should not, and loses no click when killed."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import ROOT
from tests.random_bundle import make_bundle
from tests.serve.served import make_scans, world

MODEL = {"_target_": "segfocal.models.PromptUNet", "image_size": 32, "widths": [8, 16]}
pytestmark = pytest.mark.slow  # each starts a process that imports torch


@pytest.fixture
def place(tmp_path):
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    make_scans(tmp_path)
    make_bundle(tmp_path / "bundle", config=MODEL, window=(32, 32), needs_prompts=True)
    return tmp_path


class Server:
    def __init__(self, folder, *options):
        given = {"bundle": "bundle", "input": "scans", "output": "corrected", "session": "sessions"}
        given = {key: folder / name for key, name in given.items()} | dict(one.split("=") for one in options)
        command = [sys.executable, str(ROOT / "scripts" / "serve.py"), *(f"{k}={v}" for k, v in given.items())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        self.key = parse_qs(urlsplit(self.address).query).get("token", [""])[0]

    def ask(self, path, body=None):
        request = urllib.request.Request(
            f"http://{urlsplit(self.address).netloc}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(60)


def test_a_server_that_is_killed_between_clicks_has_lost_none(place):
    """Two people click until the server is killed under them; whatever was acknowledged is there afterwards."""
    server = Server(place, "port=0")
    bases = []
    for scan in server.ask("/api/scans")["scans"]:
        bases.append("/api/sessions/" + server.ask("/api/sessions", {"scan": scan["id"]})["session"])

    def click_until_killed(base):
        acknowledged = 0
        try:
            for number in range(1000):
                place = world(5 + number % 12, 4 + number % 10, 1 + number % 6)
                body = {"structure": "liver", "kind": "point", "world_mm": [place], "positive": number % 3 != 0}
                acknowledged = server.ask(f"{base}/prompts", body)["prompts"]
                if acknowledged == 12:
                    server.process.kill()
        except (OSError, urllib.error.URLError, ValueError):
            pass
        return acknowledged

    with ThreadPoolExecutor(2) as people:
        acknowledged = list(people.map(click_until_killed, bases))
    server.process.wait(60)
    assert max(acknowledged) >= 12
    again = Server(place, "port=0")
    try:
        assert again.key == server.key  # an open page goes on
        for base, count in zip(bases, acknowledged, strict=True):
            told = again.ask(base)
            assert told["prompts"] in (count, count + 1)  # one may have been written and not acknowledged
            assert len(again.ask(f"{base}/prompts.json")) == told["prompts"]
            assert told["can_undo"]
            assert again.ask(f"{base}/undo", {})["prompts"] == told["prompts"] - 1
    finally:
        again.end()


def test_a_server_ends_when_it_is_told_to_and_the_port_is_free_again(place):
    server = Server(place, "port=0")
    port = urlsplit(server.address).port
    assert server.ask("/healthz") == {"status": "ok"}
    server.end(signal.SIGTERM)
    again = Server(place, f"port={port}")
    assert again.ask("/healthz") == {"status": "ok"}
    again.end(signal.SIGINT)
    assert "Traceback" not in again.process.stderr.read()


def test_two_servers_do_not_share_a_folder_or_a_port(place, tmp_path):
    server = Server(place, "port=0")
    try:
        port = urlsplit(server.address).port
        elsewhere = f"session={tmp_path / 'elsewhere'}"
        for options, words in ((["port=0"], "another segfocal process"), ([f"port={port}", elsewhere], "to listen on")):
            other = Server(place, *options)
            other.process.wait(60)
            assert words in other.process.stderr.read()
    finally:
        server.end()
    assert os.path.exists(place / "sessions")
