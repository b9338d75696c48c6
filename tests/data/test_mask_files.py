"""Mask files: the label map they add up to where they overlap, and which of them may be a target."""

from dataclasses import replace

import numpy as np
import pytest

from segfocal.data.case import Mask
from segfocal.data.ignore_label import ignored_in
from segfocal.data.store.prepare import read_pair
from segfocal.errors import UserError
from tests.data.conftest import NAMES, SHAPE, labelled_for
from tests.scans import make_scan


def with_masks(tmp_path, scan, arrays):
    masks = [
        Mask(path=make_scan(tmp_path / f"{name}.nii", array.astype(np.uint8)), value=NAMES[name])
        for name, array in arrays.items()
    ]
    return replace(scan[0], masks=tuple(masks))


def test_masks_that_overlap_all_count_where_they_may(tmp_path, scan):
    big, small = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    big[1:8, 1:9], small[5:9, 2:4] = True, True
    case = with_masks(tmp_path, scan, {"liver": big, "spleen": small})
    overlapping, both = labelled_for(case, ["liver", "spleen"], overlap=True)
    labels = read_pair(overlapping)[1].array
    assert [np.array_equal(s.inside(labels), one) for s, one in zip(both, (big, small), strict=True)] == [True, True]
    exclusive, both = labelled_for(case, ["liver", "spleen"])
    labels = read_pair(exclusive)[1].array
    assert np.array_equal(both[0].inside(labels), big & ~small)
    assert np.array_equal(both[1].inside(labels), small)
    union, (one,) = labelled_for(case, {"both": ["liver", "spleen"]})
    assert np.array_equal(one.inside(read_pair(union)[1].array), big | small)


def test_a_mask_to_ignore_lies_above_the_others(tmp_path, scan):
    big, gap = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    big[1:3, 1:3], gap[:8, :9] = True, True
    for target in ("liver", ["liver", "kidney_left"]):
        case, structures = labelled_for(with_masks(tmp_path, scan, {"liver": big, "spleen": gap}), target, ignored=1)
        labels = read_pair(case)[1].array
        assert np.array_equal(ignored_in(labels, case), gap)
        assert not structures[0].inside(labels).any()


@pytest.mark.parametrize("target", ["liver", ["liver", "spleen"], {"kidneys": [2, 3]}])
def test_what_is_ignored_cannot_be_a_target(scan, target):
    with pytest.raises(UserError, match="to segment or to ignore; found both of"):
        labelled_for(scan[0], target, ignored=3 if isinstance(target, dict) else 5)
