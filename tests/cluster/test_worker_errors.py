"""An error of a worker: as one line, and whether another machine may do better."""

import errno

import pytest

from segfocal.cluster.worker_errors import in_one_line, is_of_the_machine
from segfocal.errors import UserError


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as found:
        return found


BROKEN = UserError(expected="a whole file", found="half of one", do="copy it again")


@pytest.mark.parametrize(
    ("error", "of_the_machine"),
    [
        (BROKEN, False),
        (raised(BROKEN, EOFError()), False),
        (raised(UserError(expected="a place", found="full", do="free it"), OSError(errno.ENOSPC, "full")), True),
        (OSError(errno.EIO, "disk"), True),
        (MemoryError(), True),
        (RuntimeError("unforeseen"), True),
    ],
)
def test_what_another_machine_may_do_better(error, of_the_machine):
    assert is_of_the_machine(error) is of_the_machine


def test_any_error_is_one_line():
    assert in_one_line(BROKEN) == str(BROKEN)
    assert in_one_line(ValueError("a\nb")) == "a fault in segfocal: ValueError: a\\nb"
