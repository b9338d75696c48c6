"""The wheel: it holds all that the commands need, with its licences, and works away from the repository."""

import csv
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import pytest

from tests import DEMO, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling, which builds wheels, is not installed"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def files_of(folder):
    listed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in listed if "__pycache__" not in name}


def test_it_holds_the_package_and_the_configs_file_by_file(wheel):
    inside = files_of(wheel / "segfocal")
    for source, place in ((ROOT / "segfocal", ""), (ROOT / "conf", "conf/")):
        for name in files_of(source):
            assert place + name in inside, name
            assert (wheel / "segfocal" / place / name).read_bytes() == (source / name).read_bytes()
    assert {name.partition("/")[0] for name in files_of(wheel)} == {"segfocal", *map(str, dist_info(wheel))}


def dist_info(wheel):
    return [path.name for path in wheel.glob("*.dist-info")]


def test_it_holds_the_licences_of_all_that_is_in_it(wheel):
    (facts,) = wheel.glob("*.dist-info")
    assert (facts / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "@niivue/niivue" in (wheel / "segfocal/serve/page/vendor/LICENCES.txt").read_text()
    assert (wheel / "segfocal/demo_scans/LICENSE").read_bytes() == (DEMO / "LICENSE").read_bytes()
    assert "segfocal = segfocal.cli.main:main" in (facts / "entry_points.txt").read_text()


def test_it_holds_the_scans_that_the_demo_reads(wheel):
    folder = wheel / "segfocal" / "demo_scans"
    with (folder / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    named = {row[kind] for row in rows for kind in ("image", "label")}
    assert len(named) == 4
    assert files_of(folder) == named | {"cases.csv", "label_names.json", "LICENSE", "README.md"}
    assert all((folder / name).read_bytes() == (DEMO / name).read_bytes() for name in named)


def test_its_commands_run_in_an_empty_folder(wheel, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
    for options, told in ((["info"], str(wheel / "segfocal")), (["train", "train.dry_run=true"], "steps")):
        command = [sys.executable, "-m", "segfocal.cli.main", *options]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
