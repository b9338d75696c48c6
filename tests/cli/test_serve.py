"""The options of the serve command: what cannot be is told in one line before anything listens."""

import pytest
from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder
from segfocal.cli.serve import serve_options
from segfocal.errors import UserError
from tests.random_bundle import make_bundle
from tests.serve.served import make_scans

WRONG = [
    ({"port": 70000}, "port from 0 to 65535"),
    ({"host": "0.0.0.0"}, "a server that other machines can reach"),
    ({"host": "0.0.0.0", "key": "short"}, "a key of 16 to 256"),
    ({"host": "example.org"}, "an address for host"),
    ({"limits.sessions": 0}, "sessions from 1 to 1000"),
    ({"limits.idle_minutes": 0}, "idle_minutes above 0"),
    ({"propagate.margin_mm": -1}, "margin_mm"),
    ({"overlap": 2}, "overlap in [0,1)"),
    ({"bundle": "nothing"}, "a bundle"),
    ({"input": "nothing"}, "scans ending in"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_options_that_cannot_be_are_told_in_one_line(tmp_path, monkeypatch, changes, words):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from segfocal.serve.run_server import serve

    make_scans(tmp_path)
    make_bundle(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.load(conf_folder() / "serve.yaml")
    for key, value in {"bundle": "bundle", "input": "scans", "port": 0, **changes}.items():
        OmegaConf.update(config, key, value)
    said = []
    with pytest.raises(UserError) as refused:
        serve(serve_options(OmegaConf.to_container(config)), say=said.append)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert said == []


def test_another_machine_is_let_in_with_a_key_alone():
    config = OmegaConf.load(conf_folder() / "serve.yaml")
    config.merge_with({"bundle": "bundle", "host": "0.0.0.0", "key": "0123456789abcdef"})
    options = serve_options(OmegaConf.to_container(config))
    assert not options.is_local
    config.merge_with({"host": "localhost", "key": None})
    assert serve_options(OmegaConf.to_container(config)).is_local
