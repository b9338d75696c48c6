"""Commands over many cases do the same by workers of Ray as by processes of this machine; broken cases stop none."""

import importlib.util
import os
import subprocess
import sys

import pytest

from segfocal.cli.app import conf_folder
from tests.scans import make_sphere_cases

pytestmark = [
    pytest.mark.slow,  # Ray takes seconds to start
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray"),
]

COMMANDS = {  # options, what is compared, exit code: two of six cases are broken
    "evaluate": (["prediction={data}/masks", "reference={data}/labels", "output={output}"], "metrics.csv", 1),
    "doctor": (["data.root={data}/images/..", "output={output}"], "doctor.json", 1),
    "fingerprint": (["data=csv", "data.root={data}/sound.csv", "target=1", "output={output}"], "fingerprint.json", 0),
    "prepare": (["data=csv", "data.root={data}/cases.csv", "target=1", "cache={output}"], "*/*.b2nd", 1),
}


@pytest.fixture
def data(tmp_path):
    """Six cases, of which one has a label that is cut short and one a scan that is none; masks that are the labels."""
    data = tmp_path / "data"
    listed = make_sphere_cases(data, 6).read_text().splitlines()
    (data / "masks").mkdir()
    for path in sorted((data / "labels").iterdir()):
        (data / "masks" / path.name).write_bytes(path.read_bytes())
    (data / "labels" / "c1.nii.gz").write_bytes((data / "labels" / "c1.nii.gz").read_bytes()[:-400])
    (data / "images" / "c4.nii.gz").write_bytes(b"no scan")
    (data / "sound.csv").write_text("\n".join(row for row in listed if not row.startswith(("c1", "c4"))) + "\n")
    return data


@pytest.mark.parametrize("command", COMMANDS)
def test_workers_leave_what_one_machine_leaves(command, data, tmp_path):
    script = conf_folder().parent / "scripts" / f"{command}.py"
    options, pattern, code = COMMANDS[command]
    left = {}
    for name, more in (("here", []), ("workers", ["cluster=ray", "cluster.actors=2"])):
        output = tmp_path / name
        asked = [option.format(data=data, output=output) for option in options]
        made = subprocess.run(
            [sys.executable, script, *asked, *more],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert made.returncode == code, made.stderr
        assert "Traceback" not in made.stderr
        left[name] = {
            str(file.relative_to(output)): file.read_bytes().replace(str(output).encode(), b"X")
            for file in sorted(output.glob(pattern))
        }
    assert left["here"]
    assert left["workers"] == left["here"]
