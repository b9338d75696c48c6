"""The options of the serve command: what cannot be is told in one line before anything listens."""

import pytest

from tests.random_bundle import make_bundle
from tests.serve.served import make_scans
from tests.system.commands import segfocal

WRONG = [
    (["port=70000"], "port from 0 to 65535"),
    (["host=0.0.0.0"], "a server that other machines can reach"),
    (["host=0.0.0.0", "key=short"], "a key of 16 to 256"),
    (["host=example.org"], "an address for host"),
    (["limits.sessions=0"], "limits.sessions"),
    (["limits.idle_minutes=0"], "idle_minutes above 0"),
    (["propagate.margin_mm=-1"], "margin_mm"),
    (["overlap=2"], "overlap in [0,1)"),
    (["bundle=nothing"], "a bundle"),
    (["input=nothing"], "scans ending in"),
]


def test_options_that_cannot_be_are_told_in_one_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    make_scans(tmp_path)
    make_bundle(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    for options, words in WRONG:
        given = {"bundle": "bundle", "input": "scans", "port": "0"} | dict(one.split("=") for one in options)
        assert segfocal(monkeypatch, "serve", *(f"{key}={value}" for key, value in given.items())) == 1
        said = capsys.readouterr()
        assert words in said.err, options
        assert len(said.err.splitlines()) == 1
        assert said.out == ""
