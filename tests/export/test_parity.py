"""How far an exported network may be from its model."""

import pytest

from segfocal.errors import UserError
from segfocal.export.parity import LEAST_DICE, Parity


def parity(logit_difference, dice):
    return Parity(
        logit_difference=logit_difference, dice={"liver": 1.0, "spleen": dice}, voxels={"liver": 9, "spleen": 4}
    )


def test_logits_within_the_tolerance_and_equal_masks_pass():
    parity(1e-3, LEAST_DICE).check(1e-3)


@pytest.mark.parametrize(("difference", "dice"), [(1.1e-3, 1.0), (1e-5, 0.99), (float("nan"), 1.0)])
def test_a_difference_that_is_too_large_or_no_number_is_refused(difference, dice):
    with pytest.raises(UserError, match=r"logits within 0.001 .*nothing was written"):
        parity(difference, dice).check(1e-3)


def test_the_row_holds_the_limits():
    assert parity(1e-4, 1.0).row(1e-3) == {
        "logit_difference": 1e-4,
        "dice": {"liver": 1.0, "spleen": 1.0},
        "voxels": {"liver": 9, "spleen": 4},
        "limits": {"logit_difference": 1e-3, "dice": LEAST_DICE},
    }
