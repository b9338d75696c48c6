"""The report beside a mask: read where `predict` left it, and passed over where another program did."""

import json

import pytest

from segfocal.errors import UserError
from segfocal.evaluate.prediction_report import PredictionReport, read_prediction_report


def test_a_report_says_what_a_mask_holds_and_was_made_from(tmp_path):
    report = {"segfocal": "1", "structures": {"ball": 1}, "made_of": {"ball": [4, 6]}, "input": "scan.nii.gz"}
    for bundle in ("runs/a", ["runs/a", "runs/b"]):
        (tmp_path / "mask.json").write_text(json.dumps({**report, "bundle": bundle}))
        found = read_prediction_report(tmp_path / "mask.nii.gz")
        assert (found.structures, found.made_of) == ({"ball": 1}, {"ball": [4, 6]})
        assert (str(found.scan), str(found.bundle)) == ("scan.nii.gz", "runs/a")


@pytest.mark.parametrize("text", ["[1]", '{"structures": {"ball": 1}}'])
def test_another_program_s_file_is_no_report(tmp_path, text):
    (tmp_path / "mask.json").write_text(text)
    assert read_prediction_report(tmp_path / "mask.nii.gz") == PredictionReport()
    assert read_prediction_report(tmp_path / "other.nii.gz") == read_prediction_report(None) == PredictionReport()


def test_a_file_that_is_not_json_is_an_error(tmp_path):
    (tmp_path / "mask.json").write_text("{")
    with pytest.raises(UserError, match=r"mask\.json"):
        read_prediction_report(tmp_path / "mask.nii.gz")
