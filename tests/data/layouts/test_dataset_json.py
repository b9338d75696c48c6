"""A dataset.json that names what is not read is refused; its labels are read either way round, not both ways."""

import json

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from tests.scans import make_scan


def test_an_nnunet_ending_that_is_not_read_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"liver": 1}, "file_ending": ".nrrd"}')
    with pytest.raises(UserError, match=r"found \"file_ending\": '.nrrd'"):
        read_cases(tmp_path)


@pytest.mark.parametrize("ending", [".NII.GZ", ".nii"])
def test_an_ending_in_other_letters_is_read(tmp_path, ending):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"liver": 1}, "file_ending": ending}))
    with pytest.raises(UserError, match="at least one case"):
        read_cases(tmp_path)


@pytest.mark.parametrize(
    "labels",
    [{"0": "background", "3": "liver"}, {"background": 0, "liver": 3}, {"background": "0", "liver": "3"}],
)
def test_labels_are_read_either_way_round(tmp_path, labels):
    assert names_of(tmp_path, labels) == {"liver": 3}


@pytest.mark.parametrize("labels", [{"background": 0, "1": "liver"}, {"liver": "one"}, {"liver": 1, "2": "spleen"}])
def test_labels_both_ways_round_are_refused(tmp_path, labels):
    with pytest.raises(UserError, match=r"all as .* in dataset\.json. Write them one way"):
        names_of(tmp_path, labels)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    assert names_of(tmp_path, {"liver": 3}, encoding="utf-8-sig") == {"liver": 3}


def names_of(root, labels, encoding="utf-8"):
    for folder in ("imagesTr", "labelsTr"):
        make_scan(root / folder / "x.nii.gz", np.ones((3, 4, 5), np.uint8))
    (root / "dataset.json").write_text(json.dumps({"labels": labels}), encoding=encoding)
    return read_cases(root).label_values
