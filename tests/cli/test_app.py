"""What a command prints of others' text is shown and does not act."""

import warnings
from pathlib import Path

import pytest

from segfocal.cli.app import run_plainly, shown_path
from segfocal.errors import UserNote
from tests.system.commands import segfocal

HOSTILE = "a\x1b[2J\u202e.nii"
SHOWN = "a\\x1b[2J\\u202e.nii"


def fail(error):
    raise error


def test_a_note_of_whoever_made_it_is_shown(capsys):
    assert run_plainly(lambda: warnings.warn(HOSTILE, UserNote, stacklevel=1)) == 0
    assert capsys.readouterr().err == f"note: {SHOWN}\n"


def test_a_warning_of_another_library_is_shown():
    with pytest.warns(UserWarning, match="nii") as told:
        assert run_plainly(lambda: warnings.warn(HOSTILE, stacklevel=1)) == 0
    assert str(told[0].message) == SHOWN


@pytest.mark.parametrize("error", [RuntimeError(HOSTILE), MemoryError(HOSTILE), PermissionError(13, "no", HOSTILE)])
def test_an_error_of_another_library_is_shown(error, capsys):
    assert run_plainly(lambda: fail(error)) == 1
    said = capsys.readouterr().err
    assert SHOWN in said
    assert "\x1b" not in said
    assert said.endswith("\n")


def test_a_path_is_shown_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs" / HOSTILE) == f"runs/{SHOWN}"
    assert shown_path(Path("/elsewhere/a")) == "/elsewhere/a"


@pytest.mark.parametrize("group", ["experiment", "imbalance"])
def test_a_file_of_options_that_would_all_be_put_aside_is_told(group, tmp_path, monkeypatch, capfd):
    """Hydra puts a file without that line under a key of the group's name, and trains as if it were not there."""
    (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / group / "mine.yaml").write_text("train: {steps: 3}\n")
    options = ["--config-dir", tmp_path / "conf", f"{group}=mine", f"hydra.run.dir={tmp_path / 'run'}"]
    assert segfocal(monkeypatch, "train", *options) == 1
    said = capfd.readouterr().err
    assert said.startswith('error: expected "# @package _global_" as the first line')
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
