"""Batches: what an error message calls the slice of a sample."""

import pytest

from segfocal.batch import Origin


@pytest.mark.parametrize(
    ("origin", "text"),
    [(Origin("a", 17), "a, slice 17"), (Origin("a"), "a"), (Origin("x, slice 3", 0), "x, slice 3, slice 0")],
)
def test_a_sample_is_called_by_its_case_and_slice(origin, text):
    assert str(origin) == text
