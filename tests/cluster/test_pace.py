"""The pace of work, by hand: it counts from the first piece that ended."""

import pytest

from segfocal.cluster.pace import Pace


@pytest.mark.parametrize(
    ("ended", "seconds", "told"),
    [(2, 2.0, "1,800 an hour, 3 min left"), (11, 10.0, "3,600 an hour, 89 s left"), (6, 500.0, "36 an hour, 3 h left"),
     (100, 990.0, "360 an hour, 0 s left")],
)  # fmt: skip
def test_pace_of_a_hundred_pieces(ended, seconds, told):
    pace = Pace(100)
    assert pace.told(1, 1000.0) == "99 left"
    assert pace.told(ended, 1000.0 + seconds) == told


def test_a_long_rest_is_told_in_days():
    pace = Pace(10_001)
    pace.told(1, 0.0)
    assert pace.told(2, 3600.0) == "1 an hour, 417 days left"
