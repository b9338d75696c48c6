"""Whole volumes asked for by a box and five clicks: where they fall by hand, and numbers from closed forms."""

import csv
import json

import numpy as np
import pytest

from segfocal.evaluate.prompts import volumes
from segfocal.evaluate.prompts.volume_protocol import box_prompts, error_middle
from segfocal.evaluate.prompts.volumes import VolumeScore, evaluate_volumes, summarise_volumes
from tests.evaluate.prompts.clicker import BALL, evaluation
from tests.inference.perfect import Perfect


def cone():
    """Return a mask [8,20,24] of squares of 3, 7 and 5 on slices 2 to 4."""
    truth = np.zeros((8, 20, 24), dtype=bool)
    for z, side in ((2, 3), (3, 7), (4, 5)):
        truth[z, 5 : 5 + side, 9 : 9 + side] = True
    return truth


def test_the_box_lies_on_the_largest_slice_and_the_ends_are_told():
    box, before, after = box_prompts(cone())
    assert (box.slice, box.box_xyxy) == (3, (9.0, 5.0, 16.0, 12.0))
    assert [(one.slice, one.mask.sum().item()) for one in (before, after)] == [(1, 0), (5, 0)]
    assert [one.slice for one in box_prompts(cone()[2:5])] == [1]


def test_a_click_falls_in_the_middle_of_the_largest_error():
    truth = cone()
    answer = truth.copy()
    answer[3] = False
    answer[6, 2:5, 2:5] = True
    assert error_middle(answer, truth) == (3, 8, 12)  # the middle of 49 pixels, not of 9
    assert error_middle(truth, truth) is None


def scores(structure, dice, *, trained=True, case="a"):
    return [
        VolumeScore(case=case, structure=structure, trained=trained, clicks=n, dice=d, nsd=d / 2, seconds=1.0 + n)
        for n, d in enumerate(dice)
    ]


def test_the_area_is_the_mean_height_over_the_clicks_and_the_others_are_summed_up_apart():
    rows = [
        *scores("liver", [0.1, 0.2, 0.4, 0.6, 0.8, 1.0]),
        *scores("liver", [0.3, 0.4, 0.6, 0.6, 0.8, 1.0], case="b"),
        *scores("aorta", [0.5] * 6),
        *scores("vein", [0.0, 0.0, 0.0, 0.0, 0.0, 0.8], trained=False),
    ]
    liver, aorta, vein, trained, others = summarise_volumes(rows)
    assert (liver.structure, liver.cases, liver.dice_box, liver.dice_final) == ("liver", 2, pytest.approx(0.2), 1.0)
    assert liver.dice_auc == pytest.approx((0.3 / 2 + 0.5 + 0.6 + 0.8 + 1.0 / 2) / 4)
    assert liver.nsd_auc == pytest.approx(liver.dice_auc / 2)
    assert liver.seconds == pytest.approx(3.5)
    assert vein.dice_auc == pytest.approx(0.1)
    assert (trained.structure, others.structure) == (volumes.MEAN_TRAINED, volumes.MEAN_OTHERS)
    assert trained.dice_auc == pytest.approx((liver.dice_auc + aorta.dice_auc) / 2)
    assert (trained.trained, trained.cases, others.cases) == (True, 2, 1)
    assert others.dice_final == pytest.approx(0.8)


def test_a_model_that_knows_is_right_after_the_box(data, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        volumes, "draw_volume_clicks", lambda path, curves, dashed: drawn.update(curves=curves, of=dashed)
    )
    asked = evaluation(data, tmp_path, Perfect(side=24), structures=(BALL,), cases=["two"])
    (ball,) = evaluate_volumes(asked)
    assert (ball.dice_box, ball.dice_auc, ball.dice_final, ball.nsd_final) == (1.0, 1.0, 1.0, 1.0)
    assert not ball.trained
    with (tmp_path / "volume_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["structure"], row["clicks"]) for row in rows] == [
        ("two", "ball", str(n)) for n in range(6)
    ]
    assert json.loads((tmp_path / "volumes.json").read_text())["tolerance_mm"] == 2.0
    assert drawn == {"curves": {"ball": ([0, 1, 2, 3, 4, 5], [1.0] * 6)}, "of": {"ball"}}
