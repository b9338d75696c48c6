"""The ignore label: voxels that count for nothing when a mask is judged."""

import numpy as np

from segfocal.data.ignore_label import without_ignored
from segfocal.data.store.prepare import read_pair
from segfocal.grid import Volume
from tests.data.conftest import labelled_for


def test_ignored_voxels_are_judged_as_background(scan):
    case, _ = labelled_for(scan[0], "liver", ignored=9)
    labels = read_pair(case)[1]
    wrong = Volume(array=np.where(scan[1] == 9, 5, scan[1]), grid=labels.grid)
    mask, truth = without_ignored(wrong, labels, case)
    assert np.array_equal(mask.array == 5, truth.array == 5)
    assert without_ignored(wrong, labels, scan[0]) == (wrong, labels)
