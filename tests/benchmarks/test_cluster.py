"""A cluster on this machine whose nodes and driver are killed: each good scan has one mask, the bad ones a reason."""

import importlib.util

import pytest
from cluster import checked, make, simulate


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_nodes_and_driver_are_killed_and_every_good_scan_has_one_mask(tmp_path):
    facts = simulate(tmp_path, scans=60, broken=2)
    assert (facts["masks"], facts["explained"]) == (60, 2)
    assert facts["done again"] <= 3  # in work when the driver was killed, one a node


def test_a_run_that_lost_a_mask_is_found_out(tmp_path):
    make(tmp_path, scans=1, broken=0)
    (tmp_path / "one").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(AssertionError):
        checked(tmp_path / "one", tmp_path / "masks", 1, 0)
