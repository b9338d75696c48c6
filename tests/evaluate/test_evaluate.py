"""The walk of an evaluation: a case has the same metrics alone, among others, and in another process."""

from dataclasses import replace

import pytest

from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.evaluate.folders import LABELS, mask_evaluation, rows_of


def test_a_case_has_the_same_metrics_alone(folders, judged, tmp_path):
    alone = MaskEvaluation(
        prediction=folders / "first" / "c3_mask.nii.gz",
        reference=folders / "labels" / "c3.nii.gz",
        output=tmp_path,
        settings=EvaluationSettings(labels=LABELS),
    )
    rows = [{**row, "case": "c3"} for row in rows_of(evaluate(alone))]
    assert rows == [row for row in rows_of(judged[0]) if row["case"] == "c3"]


@pytest.mark.slow
def test_processes_change_nothing(folders, judged, tmp_path):
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, workers=2, pictures=0)))
    assert rows == rows_of(judged[0])


def test_one_mask_among_many_references_is_judged_by_its_own(folders, judged, tmp_path):
    one = replace(mask_evaluation(folders, tmp_path, pictures=0), prediction=folders / "first" / "c3_mask.nii.gz")
    assert rows_of(evaluate(one)) == [row for row in rows_of(judged[0]) if row["case"] == "c3"]
