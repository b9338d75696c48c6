"""What an evaluation leaves: every case counts once, failures are noted, earlier results are kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import MaskEvaluation
from tests.evaluate.folders import mask_evaluation, rows_of, table
from tests.scans import make_scan

WORDS = ["ok", "missed", "false_alarm", "both_empty", "missing_prediction", "failed"]


def test_each_case_has_a_status_and_the_summary_counts_them(judged):
    cases, output = judged
    rows = rows_of(cases)
    status = {(row["case"], row["structure"]): row["status"] for row in rows}
    expected = {"c0": "ok", "missed": "missed", "alarm": "false_alarm", "empty": "both_empty"}
    assert {name: status[name, "ball"] for name in expected} == expected
    assert status["gone", "ball"] == status["gone", "dot"] == "missing_prediction"
    assert status["broken", ""] == "failed"
    line = table(output / "summary.csv")[0]
    assert [line[word] for word in WORDS[:5]] == ["7", "1", "1", "1", "1"]
    assert line["cases"] == "11"
    facts = json.loads((output / "metrics.json").read_text())
    assert facts["structures"]["ball"]["status"]["missed"] == 1
    assert facts["predictions_without_reference"] == ["spare_mask"]


def test_a_failed_case_is_one_row_with_its_message(judged):
    cases, output = judged
    rows = rows_of(cases)
    (failed,) = [row for row in table(output / "metrics.csv") if row["status"] == "failed"]
    assert "damaged" in failed["message"]
    assert failed["dice"] == failed["structure"] == ""
    assert len(rows) == 11 * 2 + 1


def test_results_are_not_replaced_unasked(folders, judged):
    _, output = judged
    evaluation = mask_evaluation(folders, output, groups=["overlap"], pictures=0)
    with pytest.raises(UserError, match="overwrite=true"):
        evaluate(evaluation)
    kept = (output / "summary.csv").read_bytes()
    evaluate(replace(evaluation, output=output.with_name("copy")))
    evaluate(replace(evaluation, output=output.with_name("copy"), overwrite=True))
    assert (output / "summary.csv").read_bytes() == kept


@pytest.mark.parametrize("name", ["dice.png", "overlays/c0_ball.png", "overlays/mine.png", "overlays"])
def test_pictures_of_the_user_are_not_replaced_unasked(folders, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        evaluate(mask_evaluation(folders, tmp_path))
    assert (tmp_path / name).read_bytes() == b"mine"
    assert not (tmp_path / "metrics.csv").exists()


def test_the_overlay_of_one_case_is_not_replaced_unasked_and_an_input_never(tmp_path):
    array = np.zeros((6, 6, 4), np.uint8)
    array[2:4, 2:4, 1:3] = 1
    one, two = (make_scan(tmp_path / name, array) for name in ("a.nii.gz", "b.nii.gz"))
    (tmp_path / "overlay.png").write_bytes(b"mine")
    evaluation = MaskEvaluation(prediction=one, reference=two, image=one, output=tmp_path)
    with pytest.raises(UserError, match=r"overlay\.png"):
        evaluate(evaluation)
    assert (tmp_path / "overlay.png").read_bytes() == b"mine"
    with pytest.raises(UserError, match="the same file as input and output"):
        evaluate(replace(evaluation, image=tmp_path / "overlay.png", overwrite=True))
    assert (tmp_path / "overlay.png").read_bytes() == b"mine"
    evaluate(replace(evaluation, overwrite=True))
    assert (tmp_path / "overlay.png").read_bytes() != b"mine"


def test_the_last_column_is_the_file_that_was_judged(judged):
    _, output = judged
    for name, suffix in (("metrics.csv", "_mask"), ("metrics_against.csv", "")):
        rows = table(output / name)
        assert list(rows[0])[-3:] == ["status", "message", "prediction"]
        files = {row["case"]: row["prediction"] for row in rows}
        assert files["c3"] == f"c3{suffix}.nii.gz"
        assert files["broken"] == f"broken{suffix}.nii.gz"
        assert files["gone"] == ("" if suffix else "gone.nii.gz")
