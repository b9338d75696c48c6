"""Cases examined in several processes: the same findings in the same order, whatever becomes of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segfocal.doctor.case_list import check_case_list
from segfocal.doctor.case_report import examine
from segfocal.doctor.examine_all import examine_all
from tests import ROOT
from tests.broken_data import make_case, make_corpus


class Deadly(type(Path())):
    """A path that ends the process it is sent to, as the system ends one for want of memory."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    kinds = ["sound", "cut_short", "label_moved_far", "not_finite"]
    return check_case_list(make_corpus(tmp_path_factory.mktemp("data"), kinds)).cases


def test_several_processes_find_what_one_does(cases):
    alone = [examine(case, names={}) for case in cases]
    together = list(examine_all(cases, names={}, workers=2))
    assert [one.case.name for one in together] == [case.name for case in cases]
    assert [one.findings for one in together] == [one.findings for one in alone]
    assert [one.image_hash for one in together] == [one.image_hash for one in alone]


def test_a_process_that_is_killed_takes_only_its_own_case_with_it(tmp_path):
    for number, name in enumerate("abc"):
        make_case(tmp_path, name, number)
    cases = list(check_case_list(tmp_path).cases)
    object.__setattr__(cases[1], "image", Deadly(cases[1].image))
    found = [[one.check for one in done.findings] for done in examine_all(cases, names={}, workers=1)]
    assert found[1] == ["unreadable"]
    assert "unreadable" not in found[0] + found[2]


@pytest.mark.slow
def test_the_script_starts_processes_of_its_own(tmp_path):
    """They load the script again: without a guard each would start the whole command anew."""
    for number, name in enumerate("ab"):
        make_case(tmp_path / "data", name, number)
    script = ROOT / "scripts" / "doctor.py"
    command = [sys.executable, str(script), str(tmp_path / "data"), f"output={tmp_path / 'out'}", "workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 cases: 0 errors, 0 warnings" in done.stdout
