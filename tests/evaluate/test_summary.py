"""Summaries over cases: every case but the failed in each mean, and two predictions paired by case."""

import numpy as np
import pytest

from segfocal.evaluate.evaluate import evaluate
from segfocal.metrics import bootstrap_mean, compare_pairs
from tests.evaluate.folders import mask_evaluation, rows_of, table


def test_means_hold_every_case_but_the_failed(judged):
    cases, output = judged
    rows = rows_of(cases)
    for line in table(output / "summary.csv")[:2]:
        dice = [row["dice"] for row in rows if row["structure"] == line["structure"]]
        expected = bootstrap_mean(dice, seed=0)
        found = [float(line[f"dice_{name}"]) for name in ("mean", "low", "high")]
        assert (len(dice), *found) == pytest.approx((11, *expected))
        assert float(line["dice_median"]) == pytest.approx(np.median(dice))
    last = table(output / "summary.csv")[2]
    assert last["structure"] == "mean"


def test_two_predictions_are_paired_by_case(judged):
    cases, output = judged
    rows = rows_of(cases)
    others = table(output / "metrics_against.csv")
    (line,) = [r for r in table(output / "comparison.csv") if (r["structure"], r["figure"]) == ("ball", "dice")]
    first = {row["case"]: row["dice"] for row in rows if row["structure"] == "ball"}
    second = {row["case"]: float(row["dice"]) for row in others if row["structure"] == "ball"}
    expected = compare_pairs(
        [first[name] for name in first], [second[name] for name in first], larger_is_better=True, seed=0
    )
    assert (line["pairs"], line["better"], line["worse"]) == ("11", str(expected.better), str(expected.worse))
    assert float(line["difference"]) == pytest.approx(expected.mean.mean)
    assert float(line["p"]) == pytest.approx(expected.p)
    assert float(line["p_holm"]) >= float(line["p"])
    few = [r for r in table(output / "comparison.csv") if r["p"] == ""]
    assert all(row["note"] for row in few)


def test_a_value_that_is_nowhere_is_in_no_mean(folders, judged, tmp_path):
    options = {"labels": {"ball": 1, "typo": 11}, "against": folders / "second", "groups": ["overlap"]}
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, **options)))
    assert {row["status"] for row in rows if row["structure"] == "typo"} == {"nowhere"}
    ball, typo, mean = table(tmp_path / "summary.csv")
    expected = table(judged[1] / "summary.csv")[0]
    assert ball["dice_mean"] == mean["dice_mean"] == expected["dice_mean"]
    assert (typo["nowhere"], typo["ok"], typo["dice_mean"], ball["nowhere"]) == ("11", "0", "", "0")
    assert {row["structure"] for row in table(tmp_path / "comparison.csv")} == {"ball"}
    assert "typo" in (tmp_path / "report.html").read_text()


def test_a_value_that_only_the_second_prediction_holds_is_counted(folders, tmp_path):
    options = {"prediction": folders / "first" / "alarm_mask.nii.gz", "against": folders / "second"}
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path, **options, pictures=0)))
    assert {row["structure"]: row["status"] for row in rows} == {"ball": "false_alarm", "dot": "both_empty"}
