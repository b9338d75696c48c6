"""What a run measures of itself."""

import csv


def test_throughput_is_in_the_record(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert rows[0]["samples_per_second"] == ""
    assert float(rows[-1]["samples_per_second"]) > 0
