"""Summaries of prompt scores: means of means, and curves of clicks."""

import csv
import json

import numpy as np
import pytest

from segfocal.evaluate.prompts import summary as prompt_summary
from segfocal.evaluate.prompts.evaluate import evaluate_prompts
from segfocal.report.plots import draw_clicks
from tests.evaluate.prompts.clicker import evaluated, evaluation


def test_means_go_over_slices_then_cases_then_structures(data, tmp_path):
    rows = evaluated(data, tmp_path, prompts=["box", 1])
    summary = json.loads((tmp_path / "summary.json").read_text())
    means = {(row["case"], row["structure"], row["prompt"]): row for row in summary["scores"]}

    def mean(case, structure):
        return np.mean([r["dice"] for r in rows if (r["case"], r["structure"], r["prompt"]) == (case, structure, "1")])

    ball = (mean("one", "ball") + mean("two", "ball")) / 2
    assert means["one", "ball", "1"]["dice"] == pytest.approx(mean("one", "ball"))
    assert means["all", "ball", "1"]["dice"] == pytest.approx(ball)
    assert means["all", "mean", "1"]["dice"] == pytest.approx((ball + mean("one", "rod")) / 2)
    whole, single = means["all", "ball", "1"], means["all", "rod", "1"]
    assert (whole["cases"], whole["slices"], whole["over"]) == (2, 6, "cases")
    assert (single["cases"], single["slices"], single["over"]) == (1, 3, "slices")
    assert whole["dice_low"] <= whole["dice"] <= whole["dice_high"]
    assert (single["dice_low"], single["dice_high"]) == pytest.approx((single["dice"],) * 2)  # all rods are alike
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(summary["scores"])


def test_the_curves_are_those_of_the_table(data, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        prompt_summary, "draw_clicks", lambda path, curves, **lines: drawn.update(lines, curves=curves, path=path)
    )
    summaries, _ = evaluate_prompts(evaluation(data, tmp_path, prompts=["none", "box", 1, 3]))
    dice = {(summary.structure, summary.prompt): summary.dice for summary in summaries}
    names = ["ball", "rod", "mean"]
    assert drawn["curves"] == {name: ([1, 3], [dice[name, "1"], dice[name, "3"]]) for name in names}
    assert drawn["boxes"] == {name: dice[name, "box"] for name in names}
    assert drawn["unprompted"] == {name: dice[name, "none"] for name in names}
    monkeypatch.undo()
    draw_clicks(drawn["path"], drawn["curves"], boxes=drawn["boxes"], unprompted=drawn["unprompted"])
    assert (tmp_path / "clicks.png").read_bytes().startswith(b"\x89PNG")


def test_structures_that_were_trained_and_others_have_means_of_their_own(data, tmp_path):
    evaluated(data, tmp_path, prompts=["box", 1], trained=["rod"])
    summary = json.loads((tmp_path / "summary.json").read_text())
    means = {(row["case"], row["structure"], row["prompt"]): row["dice"] for row in summary["scores"]}
    assert means["all", "mean of trained", "1"] == means["all", "rod", "1"]
    assert means["all", "mean of others", "1"] == means["all", "ball", "1"]
    assert ("two", "mean of trained", "1") not in means  # there is no rod
