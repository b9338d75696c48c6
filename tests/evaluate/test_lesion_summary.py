"""The lesions of all cases together: sums over cases, intervals that draw cases, recall by size, FROC."""

import json

import numpy as np
import pytest

from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.lesion_summary import summarise_lesions
from segfocal.evaluate.options import EvaluationSettings
from segfocal.metrics import bootstrap_ratio
from tests.evaluate.folders import AFFINE, SHAPE, mask_evaluation, rows_of, scan_of
from tests.scans import make_scan

SETTINGS = EvaluationSettings(labels={"ball": 1, "dot": 2})


@pytest.fixture(scope="module")
def summaries(judged):
    return {each.structure: each for each in summarise_lesions(judged[0], SETTINGS)}


def test_ratios_are_those_of_all_lesions_and_intervals_draw_cases(judged, summaries):
    for structure, found in summaries.items():
        rows = [row for row in rows_of(judged[0]) if row["structure"] == structure]
        for rule, name in ((found.overlapping, "lesion"), (found.matched, "matched")):
            tp, fp, fn = (np.array([row[f"{name}_{kind}"] for row in rows]) for kind in ("tp", "fp", "fn"))
            assert (rule.counts.tp, rule.counts.fp, rule.counts.fn) == (tp.sum(), fp.sum(), fn.sum())
            assert rule.recall == bootstrap_ratio(tp, tp + fn, seed=0)
            assert rule.precision == bootstrap_ratio(tp, tp + fp, seed=0)
            assert rule.f1 == bootstrap_ratio(2 * tp, 2 * tp + fp + fn, seed=0)
            assert rule.false_positives.value == pytest.approx(fp.mean())
    assert summaries["ball"].cases == 11  # the broken case is left out


def test_a_case_with_many_lesions_counts_more_than_in_a_mean(judged, summaries):
    """The dots: 1, 2, 3, 1, 2, 3 and 1 of them in the first seven cases, of which the first one each is predicted."""
    dots = summaries["dot"].matched
    assert (dots.counts.tp, dots.counts.fn) == (7, 6)
    assert dots.recall.value == pytest.approx(7 / 13)
    mean = np.mean([row["matched_recall"] for row in rows_of(judged[0]) if row["structure"] == "dot"])
    assert mean > dots.recall.value


def test_recall_is_given_by_size(judged, summaries):
    sizes = summaries["dot"].sizes
    assert [each.name for each in sizes] == ["below 5 mm", "5 to 10 mm", "10 to 20 mm", "from 20 mm"]
    assert [each.lesions for each in sizes] == [13, 0, 0, 0]
    assert (sizes[0].found.value, sizes[0].matched.value) == pytest.approx((7 / 13, 7 / 13))
    assert sizes[1].found is None
    assert sum(each.lesions for each in summaries["ball"].sizes) == 9


def test_the_json_has_the_same_numbers(judged, summaries):
    facts = json.loads((judged[1] / "metrics.json").read_text())["lesions"]
    assert list(facts) == ["ball", "dot"]
    assert facts["dot"]["matched"]["tp"] == 7
    assert facts["dot"]["matched"]["recall"]["value"] == pytest.approx(7 / 13)
    assert facts["dot"]["recall_by_size"][1] == {"size": "5 to 10 mm", "lesions": 0, "found": None, "matched": None}
    assert "froc" not in facts["dot"]


def test_a_froc_is_that_of_the_probability_maps(folders, tmp_path):
    """Each ball is seen with 0.9, of the dots the first of each case with 0.6, and in c1 something that is none."""
    for name in ("missed", "alarm", "empty", "broken"):
        make_scan(tmp_path / "maps" / f"{name}.nii.gz", np.zeros((*SHAPE, 2), np.float32), AFFINE)
    for n in range(7):
        maps = np.stack([0.9 * (scan_of(4 + 0.3 * n) == 1), 0.6 * (scan_of(0, dots=1) == 2)], -1)
        if n == 1:
            maps[20, 17, 7] = (0.95, 0.5)
        make_scan(tmp_path / "maps" / f"c{n}.nii.gz", maps.astype(np.float32), AFFINE)
    output = tmp_path / "out"
    options = {"probabilities": tmp_path / "maps", "groups": ["lesions"], "pictures": 0}
    cases = evaluate(mask_evaluation(folders, output, **options))
    facts = json.loads((output / "metrics.json").read_text())["lesions"]
    ball, dot = facts["ball"]["froc"], facts["dot"]["froc"]
    assert ball["curve"][-1]["recall"] == pytest.approx(7 / 9)  # of nine balls two have no map or an empty one
    assert ball["recall_at"] == pytest.approx(dict.fromkeys(ball["recall_at"], 7 / 9))
    assert dot["curve"][0] == pytest.approx({"threshold": 0.6, "false_positives": 0, "recall": 7 / 13})
    assert (output / "froc.png").stat().st_size > 0
    assert "FROC score" in (output / "report.html").read_text()
    assert [case.files.name for case in cases if not case.candidates] == ["broken"]
