"""An error says what was expected, found and to be done, and stays the same error in another process."""

import pickle

from segfocal.errors import Fault, UserError


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
