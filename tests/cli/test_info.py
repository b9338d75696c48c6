"""`segfocal info` says what there is, by what can be asked otherwise."""

import sys

import numpy as np
import pytest
import torch

from segfocal import __version__
from segfocal.cli import info
from tests.system.commands import segfocal


def test_info_says_what_is_installed(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    (tmp_path / "runs" / "prepared").mkdir(parents=True)
    (tmp_path / "runs" / "prepared" / "a.b2nd").write_bytes(bytes(3 << 20))
    assert segfocal(monkeypatch, "info") == 0
    told = capsys.readouterr().out
    assert f"{__version__} in " in told
    assert f"torch {torch.__version__.split('+')[0]}" in told
    assert f"numpy {np.__version__}" in told
    assert f"Python:     {sys.version.split()[0]} on" in told
    assert "runs/prepared: prepared scans, 3 MiB" in told
    assert "own/segfocal: converted networks and weights, 0 B" in told


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1536, "1.5 KiB"), (3 << 30, "3 GiB")]
)
def test_sizes_have_three_digits(count, words):
    assert info.size_words(count) == words


def test_an_extra_says_what_it_lacks(monkeypatch):
    required = [
        "torch>=2.6",
        "nowhere-at-all>=1; extra == 'dicom'",
        'numpy; extra == "cpu"',
        "segfocal[x]; extra == 'dev'",
    ]
    monkeypatch.setattr(info.metadata, "requires", lambda name: required)
    assert info.extras() == {"dicom": "without nowhere-at-all", "cpu": "installed"}
