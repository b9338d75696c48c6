"""Channels of cases: one in the place of another is named with its case."""

from pathlib import Path

import pytest

from segfocal.io.channels import Channels, odd_channels


def named(**cases):
    return [Channels(case=case, images=(), names=names) for case, names in cases.items()]


def listed(*rows):
    return [Channels(case=f"c{n}", images=tuple(map(Path, row))) for n, row in enumerate(rows)]


def odd(cases, promised=()):
    return [(one.of.case, one.found) for one in odd_channels(cases, promised)]


FIRST, SECOND, THIRD = "0000", "0001", "0002"


@pytest.mark.parametrize(
    ("cases", "promised", "expected"),
    [
        ({"a": (FIRST, SECOND), "b": (SECOND, THIRD)}, (), [("b", "0001, 0002 of b: 0000 is missing")]),
        ({"a": (FIRST, SECOND), "b": (FIRST, SECOND)}, (FIRST, SECOND), []),
        ({"a": (FIRST,)}, (FIRST, SECOND), [("a", "0000 of a: 0001 is missing")]),
        ({"a": (SECOND,), "b": (SECOND,)}, (), []),  # counted from one in all of them
        ({"a": ("",), "b": (SECOND,)}, (), [("b", "0001 of b: 0000 is missing")]),
        ({"a": ("",), "b": (FIRST,)}, (), []),
        ({"a": ("t1", "t2"), "b": ("T1", "t2")}, (), []),
        ({"a": ("t1", "t2"), "b": ("flair", "t2")}, (), [("b", "flair, t2 of b: t1 is missing")]),
        ({"a": ("t1", "t2"), "b": ("t2", "t1")}, (), [("b", "t2, t1 of b")]),
        ({"a": ("t1", "t1"), "b": ("t1", "t1")}, (), [("a", "t1, t1 of a"), ("b", "t1, t1 of b")]),
        ({"a": ("t1",), "b": ("t2",)}, (), [("b", "t2 of b: t1 is missing")]),
        ({"a": ("scan_7",), "b": ("2019-03-04",)}, (), []),  # a single image may be called anything
        ({"a": ("",)}, (FIRST, SECOND), []),  # one file of four axes, which reading tells
    ],
)
def test_names_of_channels_are_compared(cases, promised, expected):
    assert odd(named(**cases), promised) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((("a_0000.nii", "a_0001.nii"), ("b_0001.nii", "b_0002.nii")), ["c1"]),
        ((("a_0000.nii", "a_0001.nii"), ("b_0000.nii", "b_0002.nii")), ["c1"]),
        ((("a_0000.nii", "a_0001.nii"), ("b_0000.nii.gz", "b_0001.nii.gz")), []),
        ((("p1/t1.nii", "p1/t2.nii"), ("p2/t2.nii", "p2/t1.nii"), ("p3/t1.nii", "p3/t2.nii")), ["c1"]),
        ((("t1/a.nii", "t2/a.nii"), ("t2/b.nii", "t1/b.nii")), ["c1"]),
        ((("a_t1.nii", "a_t2.nii"), ("b_T1w.nii", "b_T2w.nii")), []),  # what a list calls them is its own matter
        ((("scan_0001.nii", "scan_0002.nii"), ("scan_0003.nii", "scan_0004.nii")), []),  # numbers of scans
        ((("a_t1.nii", "a_t2.nii"), ("b_t1.nii",)), ["c1"]),
        ((("a_t1.nii",), ("b_t2.nii",)), []),  # one channel, of which a list may hold several kinds
        ((), []),
    ],
)
def test_a_channel_of_a_list_has_one_place(rows, expected):
    assert [one.of.case for one in odd_channels(listed(*rows))] == expected


def test_many_channels_do_not_make_a_long_line():
    cases = named(a=tuple(f"{n:04d}" for n in range(40)), b=tuple(f"{n:04d}" for n in range(1, 40)))
    (one,) = odd_channels(cases)
    assert len(one.expected) + len(one.found) < 240
