"""The examples of docs/extend.md, run as they stand there."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests import ROOT
from tests.scans import affine_of, make_sphere_case
from tests.system.commands import SMALL

PAGE = (ROOT / "docs" / "extend.md").read_text()
FILES = re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)```", PAGE, flags=re.S | re.M)
COMMANDS = re.findall(r"^    ((?:PYTHONPATH=\. )?(?:python|segfocal) .*)$", PAGE, flags=re.M)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the page's files and scans in a layout of its own."""
    folder = tmp_path_factory.mktemp("extended")
    for name, text in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for seed, patient in enumerate(("p1", "p2")):
        affine = affine_of(spacing_mm=(2.0, 2.0, 3.0))
        image, label = make_sphere_case(folder, patient, shape=(33, 35, 7), affine=affine, radius_mm=12.0, seed=seed)
        (folder / "my_scans" / patient).mkdir(parents=True)
        os.replace(folder / image, folder / "my_scans" / patient / "ct.nii.gz")
        os.replace(folder / label, folder / "my_scans" / patient / "organs.nii.gz")
    made = subprocess.run([sys.executable, "make_cases.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    return folder


def test_the_page_holds_the_examples_it_promises():
    assert len(FILES) == 6
    assert len(COMMANDS) == 4


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if "segfocal train" in c], ids=["loss", "model", "data set"])
def test_an_example_trains(command, place):
    words = shlex.split(command.removeprefix("PYTHONPATH=. "))[2:]
    small = [o for o in SMALL if not (o.startswith("model.") and "model=" in command)]
    if "data=" not in command:
        words += ["data=csv", "data.root=my_scans/cases.csv"]
    extra = ["train.steps=2", "augment=none", "cache=prepared", f"hydra.run.dir=run_{len(words)}_{len(command)}"]
    environment = os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train.py", *words, *small, *extra],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert made.returncode == 0, made.stderr
