"""A shell completes commands, options and choices."""

import os
import shutil
import subprocess
import sys

import pytest

from segfocal.cli import completion
from tests import ROOT


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("segfocal tr", ["train "]),
        ("segfocal evaluate", ["evaluate ", "evaluate-prompts "]),
        (
            "segfocal train loss=focal+d",
            [f"loss=focal+{rest}" for rest in ("dice", "dice+blob", "dice+iou", "dice+tversky")],
        ),
        ("segfocal train train.ste", ["train.steps="]),
        ("segfocal predict over", ["overlap=", "overwrite="]),
        ("segfocal compare ru", []),
        ("segfocal nothing x", []),
        ("segfocal train loss=nonsense x", []),
    ],
)
def test_words_become_what_there_is(line, among):
    assert completion.completions(line) == among


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_gets_what_follows_the_equals_sign(tmp_path):
    name = tmp_path / "segfocal"
    name.write_text(f'#!/bin/sh\nexec {sys.executable} -m segfocal.cli.main "$@"\n')
    name.chmod(0o755)
    line = "segfocal train loss=focal+d"
    typed = f'source <(segfocal completion bash); COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; _segfocal'
    out = subprocess.run(
        ["bash", "-c", f'{typed}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.split() == ["focal+dice", "focal+dice+blob", "focal+dice+iou", "focal+dice+tversky"]
