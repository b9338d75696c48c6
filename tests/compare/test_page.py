"""A comparison written down: tables, plots, and a page with every run."""

import csv
import math

import pytest

from segfocal.compare.page import compare


def test_every_seed_of_a_setting_is_shown(sweep):
    best, other = compare([sweep], sweep / "comparison")
    assert best.by_seed == pytest.approx({"0": 0.75, "1": 0.75, "2": 0.75, "3": 0.75})
    assert list(other.by_seed) == ["0", "1", "2", "3"]  # not the one that failed
    first = next(csv.DictReader((sweep / "comparison" / "settings.csv").open()))
    assert first["dice_by_seed"] == "0:0.7500 1:0.7500 2:0.7500 3:0.7500"
    assert '<span title="seed 3">0.750</span>' in (sweep / "comparison" / "compare.html").read_text()


def test_a_comparison_is_tables_pictures_and_one_page_with_every_command(sweep):
    compare([sweep], sweep / "comparison")
    rows = list(csv.DictReader((sweep / "comparison" / "results.csv").open()))
    assert len(rows) == 9
    assert [row["status"] for row in rows].count("failed") == 1
    assert all(math.isfinite(float(row["dice"])) for row in rows if row["status"] == "finished")
    page = (sweep / "comparison" / "compare.html").read_text()
    assert "segfocal train loss=a seed=2 steps=9" in page
    assert "expected a target; found none" in page
    assert "http" not in page.replace("http-equiv", "")  # needs nothing from outside
    assert (sweep / "comparison" / "dice.png").stat().st_size > 1000
    assert (sweep / "comparison" / "seeds.png").stat().st_size > 1000
    assert len(list(csv.DictReader((sweep / "comparison" / "settings.csv").open()))) == 2
