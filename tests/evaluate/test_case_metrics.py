"""The metrics of one case: those asked for, with the tolerance of each structure, and wrong without a prediction."""

from segfocal.evaluate.evaluate import evaluate
from tests.evaluate.folders import mask_evaluation, rows_of


def test_a_missing_prediction_is_wrong_even_where_there_was_nothing_to_find(judged):
    rows = rows_of(judged[0])
    for row in rows:
        if row["status"] == "missing_prediction":
            assert row["dice"] == row["nsd"] == row["lesion_f1"] == 0
            assert row["hd95_mm"] == row["assd_mm"] > 20
    (row,) = [row for row in rows if (row["case"], row["structure"]) == ("empty", "dot")]
    assert (row["dice"], row["hd95_mm"], row["nsd"], row["lesion_f1"]) == (1, 0, 1, 1)


def test_groups_that_are_not_asked_for_are_not_measured(folders, tmp_path):
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, groups=["overlap"], pictures=0)))
    assert "dice" in rows[0]
    assert not {"hd95_mm", "lesion_f1"} & rows[0].keys()


def test_a_tolerance_may_differ_by_structure(folders, judged, tmp_path):
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, tolerance_mm={"ball": 50, "default": 0.5}, pictures=0)))
    assert {(row["structure"], row["tolerance_mm"]) for row in rows if row["structure"]} == {("ball", 50), ("dot", 0.5)}
    assert all(row["nsd"] == 1 for row in rows if row["structure"] == "ball" and row["status"] == "ok")
