"""What a run leaves behind to be read."""

import csv
import json

import pytest

from segfocal.engine.record import Record
from segfocal.losses import DiceLoss, WeightedSum


def test_the_first_rows_of_a_record_can_be_read_while_the_run_goes_on(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in lines]


def test_a_full_disk_costs_rows_of_the_record_and_not_the_run(tmp_path):
    criterion = WeightedSum({"dice": DiceLoss()}, {"dice": 1.0})
    record = Record(tmp_path, criterion=criterion, structures=["liver"], first=0)
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    with pytest.warns(UserWarning, match="rows of the record are lost"):
        record.add({"step": 1, "loss": 0.5})
    record.add({"step": 2, "loss": 0.4})
    assert record.lost == 2
