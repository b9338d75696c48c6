"""One case judged by its probability maps too."""

from pathlib import Path

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.grid import Grid
from tests.evaluate.folders import AFFINE, LABELS, SHAPE, mask_evaluation, rows_of, scan_of, table
from tests.scans import make_scan


def test_areas_under_curves_are_of_the_probability_maps(folders, tmp_path):
    rng = np.random.default_rng(0)
    for n in range(7):
        for name in ("missed", "alarm", "empty", "broken"):
            make_scan(tmp_path / "maps" / f"{name}.nii.gz", np.zeros((*SHAPE, 2), np.float32), AFFINE)
        maps = rng.random((*SHAPE, 2)).astype(np.float32)
        maps[..., 0] = 0.9 * scan_of(4 + 0.3 * n).astype(bool)
        make_scan(tmp_path / "maps" / f"c{n}.nii.gz", maps, AFFINE)
    options = {"probabilities": tmp_path / "maps", "groups": ["overlap"], "pictures": 0}
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path / "out", **options)))
    ball = {row["case"]: row for row in rows if row["structure"] == "ball"}
    assert (ball["c1"]["roc_auc"], ball["c1"]["pr_auc"]) == (1, 1)
    assert (ball["gone"]["roc_auc"], ball["gone"]["pr_auc"]) == (0.5, 0)
    (tmp_path / "maps" / "c1.nii.gz").unlink()
    with pytest.raises(UserError, match="none for c1"):
        evaluate(mask_evaluation(folders, tmp_path / "out", probabilities=tmp_path / "maps", overwrite=True))


@pytest.mark.parametrize("maps", [np.full((*SHAPE, 2), 1.5), np.zeros((*SHAPE, 5)), np.zeros((4, 4, 4))])
def test_maps_that_are_no_probabilities_are_told(folders, maps, tmp_path):
    place = make_scan(tmp_path / "c0.nii.gz", maps.astype(np.float32), AFFINE)
    one = MaskEvaluation(
        prediction=folders / "first" / "c0_mask.nii.gz",
        reference=folders / "labels" / "c0.nii.gz",
        output=tmp_path / "out",
        settings=EvaluationSettings(labels=LABELS),
        probabilities=place,
    )
    with pytest.raises(UserError, match="probabilit"):
        evaluate(one)
    assert not (tmp_path / "out").exists()


def test_a_healthy_case_without_labels_is_both_empty(tmp_path):
    nothing = np.zeros((6, 6, 4), np.uint8)
    ball = nothing.copy()
    ball[2:4, 2:4, 1:3] = 1
    for folder in ("labels", "masks", "others"):
        make_scan(tmp_path / folder / "healthy.nii.gz", nothing)
        make_scan(tmp_path / folder / "ill.nii.gz", ball)
    make_scan(tmp_path / "labels" / "gone.nii.gz", nothing)
    places = [tmp_path / "masks", tmp_path / "labels", tmp_path / "others"]
    names = ("prediction", "reference", "against")
    judged = evaluate(MaskEvaluation(**dict(zip(names, places, strict=True)), output=tmp_path / "many", workers=1))
    assert {row["case"]: (row["structure"], row["status"]) for row in rows_of(judged)} == {
        "gone": ("", "missing_prediction"),
        "healthy": ("", "both_empty"),
        "ill": ("label_1", "ok"),
    }
    assert [case.failure for case in judged] == [None] * 3
    (line,) = table(tmp_path / "many" / "summary.csv")
    assert (line["structure"], line["cases"], float(line["dice_mean"])) == ("label_1", "1", 1.0)
    one = dict(zip(names, (place / "healthy.nii.gz" for place in places), strict=True))
    scan = make_scan(tmp_path / "scan.nii.gz", nothing)
    (alone,) = evaluate(MaskEvaluation(**one, image=scan, output=tmp_path / "one"))
    assert [row["status"] for row in alone.rows()] == ["both_empty"]
    assert table(tmp_path / "one" / "metrics.csv")[0]["status"] == "both_empty"


def test_maps_stored_along_other_axes_are_turned(tmp_path):
    truth = scan_of(5, dots=2)
    grid = Grid(shape=SHAPE, affine=AFFINE)
    turn = grid.orientation_to("SAL")
    make_scan(tmp_path / "truth.nii.gz", truth, AFFINE)
    make_scan(tmp_path / "mask.nii.gz", truth, AFFINE)
    maps = np.stack([truth == value for value in LABELS.values()], -1).astype(np.float32)
    make_scan(tmp_path / "maps.nii.gz", turn.apply(maps), grid.oriented(turn).affine)
    one = MaskEvaluation(
        prediction=tmp_path / "mask.nii.gz",
        reference=tmp_path / "truth.nii.gz",
        output=tmp_path / "out",
        settings=EvaluationSettings(labels=LABELS, ignore=2),
        probabilities=tmp_path / "maps.nii.gz",
    )
    assert [row["roc_auc"] for row in rows_of(evaluate(one)) if row["structure"] == "ball"] == [1]


def cut_short(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("places", "named"),
    [
        (("labels", "masks"), "masks/a.nii.gz"),
        (("truth/masks", "ours/masks"), "ours/masks/a.nii.gz"),
        (("all/labels", "all/labels/deeper"), "deeper/a.nii.gz"),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_results_that_are_moved_name_no_place_on_the_machine(places, named, relative, tmp_path, monkeypatch):
    home = tmp_path / "home of a user"
    for folder in places:
        for name, one in (("a", 1.0), ("b", 1.001)):  # the values of b are taken for whole numbers, which is noted
            ball = np.zeros((6, 6, 4), np.float32)
            ball[2:4, 2:4, 1:3] = one
            make_scan(home / folder / f"{name}.nii.gz", ball)
    cut_short(home / places[1] / "a.nii.gz")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    base = Path("..") / home.name if relative else home
    evaluate(MaskEvaluation(reference=base / places[0], prediction=base / places[1], output=home / "out", workers=1))
    rows = table(home / "out" / "metrics.csv")
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert named in failed["message"]
    assert [row["message"] for row in rows if row["case"] == "b"] != [""]
    for result in ("metrics.csv", "metrics.json", "report.html"):
        assert home.name not in (home / "out" / result).read_text()
