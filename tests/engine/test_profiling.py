"""A trace of some steps."""

import json

import pytest

from tests.system.commands import segfocal, small_training


@pytest.mark.slow
def test_a_profile_is_a_trace(spheres, tmp_path, monkeypatch):
    options = ["train.profile=true", "train.steps=13", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    assert json.loads((tmp_path / "run" / "trace.json").read_text())["traceEvents"]
