"""The metrics of one case: those asked for, with the tolerance of each structure, and wrong without a prediction."""

import numpy as np
import pytest

from segfocal.evaluate.case_metrics import case_metrics
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings
from segfocal.grid import Grid, Volume
from tests.evaluate.folders import mask_evaluation, rows_of


def test_a_case_measured_by_hand():
    reference, prediction = np.zeros((9, 7, 5), np.uint8), np.zeros((9, 7, 5), np.uint8)
    reference[2:6, 2:4, 1:3] = prediction[3:7, 2:4, 1:3] = 3  # 16 voxels each, 12 of them common
    reference[8, 6, 4] = 3
    grid = Grid(shape=reference.shape, affine=np.diag([2.0, 1.0, 5.0, 1.0]))
    volumes = [Volume(array=array, grid=grid) for array in (prediction, reference)]
    settings = EvaluationSettings(groups=("overlap", "lesions"))
    found, absent = case_metrics("a", *volumes, {"ball": 3, "none": 8}, settings)
    assert (found.tp, found.fp, found.fn, found.tn) == (12, 4, 5, 9 * 7 * 5 - 21)
    assert found.dice == pytest.approx(24 / 33)
    assert found.reference_ml == pytest.approx(0.17)  # of 0.01 ml a voxel
    assert found.volume_difference_ml == pytest.approx(-0.01)
    assert (found.lesion_tp, found.lesion_fp, found.lesion_fn, found.status) == (1, 0, 1, "ok")
    assert (absent.dice, absent.status, absent.tn) == (1, "both_empty", 9 * 7 * 5)
    assert "hd95_mm" not in found.row()
    assert list(found.row())[:4] == ["case", "structure", "label", "dice"]
    assert list(found.row())[-6:] == ["tp", "fp", "fn", "tn", "status", "message"]


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
