"""What a run measures of itself."""

import csv

from tests.system.commands import segfocal, small_training


def test_throughput_is_in_the_record(spheres, tmp_path, monkeypatch):
    options = ["train.steps=22", "train.validate_every=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert rows[0]["samples_per_second"] == ""
    assert float(rows[-1]["samples_per_second"]) > 0
