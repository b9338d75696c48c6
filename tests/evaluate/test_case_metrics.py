"""The metrics of one case: those asked for, with the tolerance of each structure, and wrong without a prediction."""

import numpy as np
import pytest

from segfocal.evaluate.case_metrics import case_metrics
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.grid import Grid, Volume
from tests.evaluate.folders import mask_evaluation, rows_of
from tests.scans import make_scan


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
    assert (found.matched_tp, found.matched_fp, found.matched_fn) == (1, 0, 1)
    assert (found.sq, found.rq, found.matched_precision, found.matched_recall) == pytest.approx((0.6, 2 / 3, 1, 0.5))
    assert found.pq == pytest.approx(0.4)
    assert found.cc_dice == pytest.approx((0.75 + 0) / 2)  # 2·12/(16+16), and one that was missed
    assert (absent.dice, absent.status, absent.tn) == (1, "both_empty", 9 * 7 * 5)
    assert (absent.cc_dice, absent.pq, absent.sq, absent.rq, absent.matched_recall) == (1, 1, 1, 1, 1)
    assert "hd95_mm" not in found.row()
    assert list(found.row())[:4] == ["case", "structure", "label", "dice"]
    assert list(found.row())[-6:] == ["tp", "fp", "fn", "tn", "status", "message"]


def test_a_lower_iou_matches_what_a_higher_one_misses():
    reference, prediction = np.zeros((9, 7, 5), np.uint8), np.zeros((9, 7, 5), np.uint8)
    reference[1:5, 2:4, 1:3], prediction[3:7, 2:4, 1:3] = 1, 1  # 8 of 24 voxels common
    volumes = [Volume(array=array, grid=Grid(shape=array.shape, affine=np.eye(4))) for array in (prediction, reference)]
    for iou, pq in ((0.5, 0), (0.3, 1 / 3)):
        (found,) = case_metrics("a", *volumes, {"ball": 1}, EvaluationSettings(groups=("lesions",), lesion_iou=iou))
        assert (found.pq, found.lesion_recall) == pytest.approx((pq, 1))


def test_lesions_are_those_of_each_structure_and_of_what_is_not_ignored(tmp_path):
    """Structures that touch are no one lesion, and a lesion of which the middle is ignored is two."""
    reference = np.zeros((12, 5, 4), np.uint8)
    reference[1:3], reference[3:6], reference[8:12] = 1, 2, 1
    prediction = reference.copy()
    reference[9:11] = 9
    masks = {"reference": reference, "prediction": prediction}
    places = {name: make_scan(tmp_path / f"{name}.nii.gz", array) for name, array in masks.items()}
    settings = EvaluationSettings(labels={"one": 1, "two": 2}, ignore=9, groups=("lesions",))
    (case,) = evaluate(MaskEvaluation(**places, output=tmp_path / "out", settings=settings))
    one, two = case.rows()
    assert [(row["lesion_tp"], row["matched_tp"], row["pq"], row["cc_dice"]) for row in (one, two)] == [
        (3, 3, 1, 1),
        (1, 1, 1, 1),
    ]


def test_a_missing_prediction_is_wrong_even_where_there_was_nothing_to_find(judged):
    rows = rows_of(judged[0])
    for row in rows:
        if row["status"] == "missing_prediction":
            assert row["dice"] == row["nsd"] == row["lesion_f1"] == row["cc_dice"] == row["pq"] == row["rq"] == 0
            assert row["hd95_mm"] == row["assd_mm"] > 20
    (row,) = [row for row in rows if (row["case"], row["structure"]) == ("empty", "dot")]
    assert (row["dice"], row["hd95_mm"], row["nsd"], row["lesion_f1"]) == (1, 0, 1, 1)


def test_groups_that_are_not_asked_for_are_not_measured(folders, tmp_path):
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, groups=["overlap"], pictures=0)))
    assert "dice" in rows[0]
    assert not {"hd95_mm", "lesion_f1", "cc_dice", "pq"} & rows[0].keys()


def test_a_tolerance_may_differ_by_structure(folders, judged, tmp_path):
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, tolerance_mm={"ball": 50, "default": 0.5}, pictures=0)))
    assert {(row["structure"], row["tolerance_mm"]) for row in rows if row["structure"]} == {("ball", 50), ("dot", 0.5)}
    assert all(row["nsd"] == 1 for row in rows if row["structure"] == "ball" and row["status"] == "ok")
