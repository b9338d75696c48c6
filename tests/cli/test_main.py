"""The first word of a command line: quick help, the version, and the command that was meant."""

import subprocess
import sys

import pytest

from segfocal import __version__
from segfocal.cli import main as cli
from segfocal.plain_text import nearest


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["segfocal", *words])
    return cli.main()


def test_help_and_version_load_neither_torch_nor_hydra():
    for word in ("--help", "--version"):
        asked = f"import sys; sys.argv = ['segfocal', '{word}']; from segfocal.cli.main import main; main()"
        told = f"{asked}; print(sorted({{'torch', 'hydra', 'numpy', 'difflib'}} & set(sys.modules)))"
        out = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
        assert f"segfocal {__version__}" in out
        assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("word", "near"), [("trian", "train"), ("evaluate_prompts", "evaluate-prompts")])
def test_a_misspelt_command_is_answered_with_the_nearest(word, near, monkeypatch, capsys):
    assert run(monkeypatch, word) == 2
    assert capsys.readouterr().err.endswith(f"found {word}. Did you mean {near}?\n")


def test_a_word_like_no_command_gets_no_guess(monkeypatch, capsys):
    assert run(monkeypatch, "x\x1by") == 2
    assert capsys.readouterr().err.endswith("found x\\x1by.\n")


@pytest.mark.parametrize(("typed", "meant"), [("train.stpes=3", "train.steps"), ("loss=foccal", "loss=focal")])
def test_a_misspelt_option_is_answered_with_the_nearest(typed, meant, monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "train", typed, f"hydra.run.dir={tmp_path}") == 1
    told = capsys.readouterr().err
    assert f"Did you mean {meant}?" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("word", "near"), [("evalute", "evaluate"), ("Train", "train"), ("xyz", None)])
def test_the_nearest_word_is_found_or_none(word, near):
    assert nearest(word, ["train", "evaluate", "predict"]) == near
