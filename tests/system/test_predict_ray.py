"""Many scans by Ray's workers: one process's masks and manifest; a scan that kills its worker stops no other."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.system.test_predict_parts import CODE, begun, ends, make_scans, masks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
]
KILLER = """
import os
from segfocal.io import volumes

read = volumes.read_channels

def read_or_die(paths):
    if "poison" in paths[0].name:
        os._exit(1)
    return read(paths)

volumes.read_channels = read_or_die
"""


@pytest.fixture
def predict(random_bundle, tmp_path):
    """A function that runs the command on the scans into a folder and returns what it said."""

    def run(output, *more, path=None):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if path:
            environment["PYTHONPATH"] = os.pathsep.join([str(path), environment.get("PYTHONPATH", "")])
        bundle = os.path.relpath(random_bundle, tmp_path)
        command = [sys.executable, "-c", CODE, "predict", f"bundle={bundle}", "input=scans", f"output={output}", *more]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr
        assert "Ray" not in done.stderr
        return done.stdout

    return run


def test_workers_make_one_processs_masks_and_manifest_and_only_what_is_missing(predict, tmp_path):
    scans = make_scans(tmp_path / "scans", 8)
    predict("one")
    assert "8 done, 0 kept, 1 failed" in predict("many", "cluster=ray", "cluster.actors=2")
    assert masks(tmp_path / "many") == masks(tmp_path / "one")
    assert ends(tmp_path / "many") == ends(tmp_path / "one")
    assert len(begun(tmp_path / "many")) == 8
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == sorted(p.name for p in (tmp_path / "one").iterdir())
    (tmp_path / "many" / "p003.nii.gz").unlink()
    (scans / "broken000.nii.gz").unlink()
    assert "1 done, 7 kept, 0 failed" in predict("many", "cluster=ray")
    assert "4 done, 0 kept, 0 failed" in predict("part", "cluster=ray", "part=1/2")
    assert "4 done, 4 kept, 0 failed" in predict("part", "cluster=ray", "part=auto")


def test_a_scan_that_kills_its_worker_is_given_up_and_named_and_the_rest_goes_on(predict, tmp_path):
    scans = make_scans(tmp_path / "scans", 4, broken=0)
    (scans / "p001.nii.gz").rename(scans / "poison.nii.gz")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "killer.py").write_text(KILLER)
    more = ["cluster=ray", "cluster.retries=1", "cluster.actors=2", "imports=killer"]
    said = predict("masks", *more, path=tmp_path / "own")
    assert "3 done, 0 kept, 1 failed" in said
    last = ends(tmp_path / "masks")["poison.nii.gz"]
    assert last["state"] == "failed"
    assert "given up after 2 tries" in last["message"]
    assert "its worker died" in json.dumps(last)
