"""A cluster on this machine whose nodes and driver are killed: each good scan has one mask, the bad ones a reason."""

import importlib.util
import json
import subprocess
import sys

import pytest
from cluster import checked, make

from tests import ROOT

SIMULATE = """
import json, sys
from pathlib import Path
from cluster import simulate
if __name__ == "__main__":
    print(json.dumps(simulate(Path(sys.argv[1]), scans=60, broken=2)))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_nodes_and_driver_are_killed_and_every_good_scan_has_one_mask(tmp_path):
    command = [sys.executable, "-c", SIMULATE, tmp_path]  # Ray takes its settings when it is first imported
    run = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    facts = json.loads(run.stdout.splitlines()[-1])
    assert (facts["masks"], facts["explained"]) == (60, 2)
    assert facts["done again"] <= 3  # in work when the driver was killed, one a node


def test_a_run_that_lost_a_mask_is_found_out(tmp_path):
    make(tmp_path, scans=1, broken=0)
    (tmp_path / "one").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(AssertionError):
        checked(tmp_path / "one", tmp_path / "masks", 1, 0)
