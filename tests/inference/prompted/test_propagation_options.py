"""Options of propagation are in their range, and those of the command."""

import pytest

from segfocal.inference.prompted.propagation_options import PropagationOptions
from tests.cli.test_configs import composed


@pytest.mark.parametrize(
    "wrong", [{"carry": "lines"}, {"carry": "box+box"}, {"margin_mm": -1}, {"min_overlap": 2}, {"reach_mm": "far"}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"propagate.{next(iter(wrong))}"):
        PropagationOptions(**wrong)


def test_the_options_of_the_command_are_those_of_propagation():
    assert dict(composed("predict").propagate) == vars(PropagationOptions())
