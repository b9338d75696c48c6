"""Foreground of each case: counted as it is, once for each state of a file."""

import nibabel as nib
import numpy as np

from segfocal.data.case import Case
from segfocal.data.label_counts import COUNTS, foreground_shares
from segfocal.structure import Structure
from tests.scans import make_scan, make_sphere_case


def test_shares_of_foreground_are_counted_once(tmp_path):
    image, label = make_sphere_case(tmp_path, "a", value=3)
    case = Case(name="a", image=image, label=label)
    liver = (Structure(name="liver", value=3),)
    inside = float(np.mean(np.asarray(nib.load(label).dataobj) == 3))
    assert foreground_shares([case], liver, tmp_path) == [inside] != [0]
    kept = (tmp_path / COUNTS).stat().st_mtime_ns
    assert foreground_shares([case], (Structure(name="x", value=1, of=(2, 3)),), tmp_path) == [inside]
    assert (tmp_path / COUNTS).stat().st_mtime_ns == kept
    make_scan(label, np.full((3, 3, 3), 3, np.uint8))
    assert foreground_shares([case], liver, tmp_path) == [1.0]
