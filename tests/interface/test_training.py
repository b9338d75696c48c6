"""Training from Python is `segfocal train`: the same options, the same weights."""

import json

import pytest

import segfocal
from segfocal.errors import UserError
from segfocal.files import sha256_of
from tests.system.commands import SMALL, small_training
from tests.system.commands import segfocal as command


@pytest.mark.slow
def test_python_trains_the_weights_of_the_command(spheres, tmp_path, monkeypatch):
    options = ["data=csv", f"data.root={spheres}", *SMALL, "train.steps=3", f"cache={tmp_path}/prepared"]
    summary = segfocal.train(options, folder=tmp_path / "python")
    assert command(monkeypatch, "train", *small_training(spheres, tmp_path / "command", "train.steps=3")) == 0
    assert summary == json.loads((tmp_path / "python" / "summary.json").read_text())
    python, by_command = (tmp_path / name / "bundle" / "model.safetensors" for name in ("python", "command"))
    assert sha256_of(python) == sha256_of(by_command)
    assert (tmp_path / "python" / "config.yaml").read_text() == (tmp_path / "command" / "config.yaml").read_text()
    scan = spheres.parent / "images" / "held.nii.gz"
    assert segfocal.load(tmp_path / "python" / "bundle").segment(scan).shape == (35, 31, 9)
    with pytest.raises(UserError, match=r"a new file|overwrite"):
        segfocal.train(options, folder=tmp_path / "python")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train.stpes": 3}, "Write train.steps"),
        ({"train.steps": "many"}, "train.steps"),
    ],
)
def test_an_option_that_is_none_is_one_line(options, message, tmp_path):
    with pytest.raises(UserError, match=message) as told:
        segfocal.train(options, folder=tmp_path / "run")
    assert len(str(told.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()
