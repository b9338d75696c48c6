"""An error says what was expected, found and to be done, and stays the same error in another process."""

import pickle

import pytest

from segfocal.errors import Fault, UserError, UserNote, note, noted, warn
from tests import ROOT


def test_an_error_is_one_sentence_with_what_to_do():
    error = UserError(expected="a scan", found="none", where="x.nii", do="add it")
    assert str(error) == "expected a scan; found none in x.nii. Add it."
    assert error.fault is Fault.OTHER


def test_an_error_arrives_complete_in_another_process():
    error = UserError(expected="a scan", found="none", where="x.nii", do="add it", fault=Fault.MISSING)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.expected, copy.found, copy.where, copy.do, copy.fault) == (
        "a scan",
        "none",
        "x.nii",
        "add it",
        Fault.MISSING,
    )


HOSTILE = "a\x1b[2J\u202e.nii"
SHOWN = "a\\x1b[2J\\u202e.nii"


def test_what_is_noted_and_warned_of_does_not_act_on_a_terminal():
    with noted() as texts:
        note(HOSTILE)
    assert texts == [SHOWN]
    for category in (UserWarning, UserNote):
        with pytest.warns(category) as told:
            warn(HOSTILE, category)
        assert str(told[0].message) == SHOWN


def test_every_warning_passes_the_same_door():
    package = ROOT / "segfocal"
    direct = [path for path in package.rglob("*.py") if "warnings.warn(" in path.read_text()]
    assert [path.relative_to(package).as_posix() for path in direct] == ["errors.py"]
