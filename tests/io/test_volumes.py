"""Names of volumes: a file's without its ending, and whether a place names one volume or many."""

from pathlib import Path

import numpy as np
import pytest

from segfocal.io.volumes import is_many, stem
from tests.scans import make_scan


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("a.nii", "a"),
        ("a.b.nii.gz", "a.b"),
        ("a.nii.nii.gz", "a.nii"),
        ("x/a.png", "a"),
        ("a.NII.GZ", "a"),
        ("a.mha", "a"),
    ],
)
def test_a_stem_is_the_name_without_its_ending_only(name, expected):
    assert stem(Path(name)) == expected


def test_a_folder_or_a_pattern_is_many_and_a_file_is_one(tmp_path):
    scan = make_scan(tmp_path / "scans" / "a[1].nii.gz", np.zeros((3, 4, 5), np.int16))
    assert is_many(tmp_path / "scans")
    assert is_many(tmp_path / "**" / "*.nii.gz")
    assert not is_many(scan)  # a file of that name is there: no pattern
    assert not is_many(tmp_path / "missing.nii.gz")


def test_a_folder_of_dicom_slices_is_one(tmp_path):
    pytest.importorskip("pydicom")
    from tests.dicom import make_series

    series = make_series(tmp_path / "study" / "series", np.zeros((5, 6, 4), np.int16))
    assert not is_many(series)
    assert is_many(series.parent)
