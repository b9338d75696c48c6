"""scripts/NAME.py: the same as `segfocal NAME`."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_process_that_loads_its_parents_script_again_runs_nothing(script):
    """Processes that are spawned do so: auto ended in an error of each, as its doctor reads scans in several."""
    runpy.run_path(str(script), run_name="__mp_main__")
