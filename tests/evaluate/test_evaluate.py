"""Folders of masks judged: every case counts once, failures are told, and figures are those of each case alone."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import Comparison, evaluate
from segfocal.metrics import bootstrap_mean, compare_pairs
from tests.scans import AFFINES, make_scan, sphere

SHAPE, AFFINE = (23, 19, 9), AFFINES["oblique"]
LABELS = {"ball": 1, "dot": 2}
WORDS = ["ok", "missed", "false_alarm", "both_empty", "missing_prediction", "failed"]


def scan_of(radius_mm, *, dots=0):
    array = np.uint8(sphere(SHAPE, AFFINE, radius_mm=radius_mm))
    for n in range(dots):
        array[1 + 3 * n, 1, 1] = 2
    return array


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Masks of ten cases, one of each kind: see `PREDICTED`."""
    root = tmp_path_factory.mktemp("folders")
    true = {f"c{n}": scan_of(4 + 0.3 * n, dots=1 + n % 3) for n in range(7)}
    true |= {"missed": scan_of(5), "alarm": scan_of(0), "empty": scan_of(0), "gone": scan_of(5), "broken": scan_of(5)}
    first = {f"c{n}": scan_of(3 + 0.4 * n, dots=1) for n in range(7)}
    first |= {"missed": scan_of(0), "alarm": scan_of(3), "empty": scan_of(0), "spare": scan_of(1)}
    second = {name: scan_of(4.2, dots=2) for name in true}
    for folder, masks in (("labels", true), ("first", first), ("second", second)):
        for name, array in masks.items():
            suffix = "_mask" if folder == "first" else ""
            make_scan(root / folder / f"{name}{suffix}.nii.gz", array, AFFINE)
    (root / "first" / "broken_mask.nii.gz").write_bytes(b"no gzip")
    return root


def comparison(root, output, **options):
    options = {"labels": LABELS, "workers": 1, "pictures": 2, **options}
    return Comparison(prediction=root / "first", reference=root / "labels", output=output, **options)


@pytest.fixture(scope="module")
def judged(folders, tmp_path_factory):
    output = tmp_path_factory.mktemp("judged")
    return evaluate(comparison(folders, output, against=folders / "second")), output


def table(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_each_case_has_a_status_and_the_summary_counts_them(judged):
    rows, output = judged
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
    rows, output = judged
    (failed,) = [row for row in table(output / "metrics.csv") if row["status"] == "failed"]
    assert "damaged" in failed["message"]
    assert failed["dice"] == failed["structure"] == ""
    assert len(rows) == 11 * 2 + 1


def test_a_missing_prediction_is_wrong_even_where_there_was_nothing_to_find(judged):
    rows, _ = judged
    for row in rows:
        if row["status"] == "missing_prediction":
            assert row["dice"] == row["nsd"] == row["lesion_f1"] == 0
            assert row["hd95_mm"] == row["assd_mm"] > 20
    (row,) = [row for row in rows if (row["case"], row["structure"]) == ("empty", "dot")]
    assert (row["dice"], row["hd95_mm"], row["nsd"], row["lesion_f1"]) == (1, 0, 1, 1)


def test_means_hold_every_case_but_the_failed(judged):
    rows, output = judged
    for line in table(output / "summary.csv")[:2]:
        dice = [row["dice"] for row in rows if row["structure"] == line["structure"]]
        expected = bootstrap_mean(dice, seed=0)
        found = [float(line[f"dice_{name}"]) for name in ("mean", "low", "high")]
        assert (len(dice), *found) == pytest.approx((11, *expected))
        assert float(line["dice_median"]) == pytest.approx(np.median(dice))
    last = table(output / "summary.csv")[2]
    assert last["structure"] == "mean"


def test_a_case_has_the_same_figures_alone(folders, judged, tmp_path):
    alone = Comparison(
        prediction=folders / "first" / "c3_mask.nii.gz",
        reference=folders / "labels" / "c3.nii.gz",
        output=tmp_path,
        labels=LABELS,
    )
    rows = [{**row, "case": "c3"} for row in evaluate(alone)]
    assert rows == [row for row in judged[0] if row["case"] == "c3"]


def test_two_predictions_are_paired_by_case(judged):
    rows, output = judged
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


def test_the_page_needs_no_other_file(judged):
    _, output = judged
    page = (output / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 3  # two of the worst, and Dice of every case
    for words in ("broken", "damaged", "spare_mask", "missing_prediction", "Holm", "diagonal"):
        assert words in page


def test_processes_change_nothing(folders, judged, tmp_path):
    rows = evaluate(comparison(folders, tmp_path, workers=2, pictures=0))
    assert rows == judged[0]


def test_one_mask_among_many_references_is_judged_by_its_own(folders, judged, tmp_path):
    one = replace(comparison(folders, tmp_path, pictures=0), prediction=folders / "first" / "c3_mask.nii.gz")
    assert evaluate(one) == [row for row in judged[0] if row["case"] == "c3"]


def test_an_unreadable_scan_costs_the_picture_its_background_only(folders, tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(7):
        (tmp_path / "images" / f"c{n}.nii.gz").write_bytes(b"no gzip")
    evaluate(comparison(folders, tmp_path / "out", image=tmp_path / "images", groups=["overlap"]))
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 2


def test_groups_that_are_not_asked_for_are_not_measured(folders, tmp_path):
    rows = evaluate(comparison(folders, tmp_path, groups=["overlap"], pictures=0))
    assert "dice" in rows[0]
    assert not {"hd95_mm", "lesion_f1"} & rows[0].keys()


def test_a_tolerance_may_differ_by_structure(folders, judged, tmp_path):
    rows = evaluate(comparison(folders, tmp_path, tolerance_mm={"ball": 50, "default": 0.5}, pictures=0))
    assert {(row["structure"], row["tolerance_mm"]) for row in rows if row["structure"]} == {("ball", 50), ("dot", 0.5)}
    assert all(row["nsd"] == 1 for row in rows if row["structure"] == "ball" and row["status"] == "ok")


def test_areas_under_curves_are_of_the_probability_maps(folders, tmp_path):
    rng = np.random.default_rng(0)
    for n in range(7):
        for name in ("missed", "alarm", "empty", "broken"):
            make_scan(tmp_path / "maps" / f"{name}.nii.gz", np.zeros((*SHAPE, 2), np.float32), AFFINE)
        maps = rng.random((*SHAPE, 2)).astype(np.float32)
        maps[..., 0] = 0.9 * scan_of(4 + 0.3 * n).astype(bool)
        make_scan(tmp_path / "maps" / f"c{n}.nii.gz", maps, AFFINE)
    rows = evaluate(
        comparison(folders, tmp_path / "out", probabilities=tmp_path / "maps", groups=["overlap"], pictures=0)
    )
    ball = {row["case"]: row for row in rows if row["structure"] == "ball"}
    assert (ball["c1"]["roc_auc"], ball["c1"]["pr_auc"]) == (1, 1)
    assert (ball["gone"]["roc_auc"], ball["gone"]["pr_auc"]) == (0.5, 0)
    (tmp_path / "maps" / "c1.nii.gz").unlink()
    with pytest.raises(UserError, match="none for c1"):
        evaluate(comparison(folders, tmp_path / "out", probabilities=tmp_path / "maps", overwrite=True))


@pytest.mark.parametrize("maps", [np.full((*SHAPE, 2), 1.5), np.zeros((*SHAPE, 5)), np.zeros((4, 4, 4))])
def test_maps_that_are_no_probabilities_are_told(folders, maps, tmp_path):
    place = make_scan(tmp_path / "c0.nii.gz", maps.astype(np.float32), AFFINE)
    one = Comparison(
        prediction=folders / "first" / "c0_mask.nii.gz",
        reference=folders / "labels" / "c0.nii.gz",
        output=tmp_path / "out",
        labels=LABELS,
        probabilities=place,
    )
    with pytest.raises(UserError, match="probabilit"):
        evaluate(one)
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unasked(folders, judged):
    _, output = judged
    job = comparison(folders, output, groups=["overlap"], pictures=0)
    with pytest.raises(UserError, match="overwrite=true"):
        evaluate(job)
    kept = (output / "summary.csv").read_bytes()
    evaluate(replace(job, output=output.with_name("copy")))
    evaluate(replace(job, output=output.with_name("copy"), overwrite=True))
    assert (output / "summary.csv").read_bytes() == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": ["volume"]}, "overlap, surface, lesions"),
        ({"tolerance_mm": -1}, "tolerance"),
        ({"tolerance_mm": {"ball": "wide"}}, "wide for ball"),
        ({"lesion_overlap": 1.0}, "lesion_overlap"),
    ],
)
def test_settings_that_cannot_be_are_told(folders, options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        comparison(folders, tmp_path, **options)
