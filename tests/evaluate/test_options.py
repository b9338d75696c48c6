"""The options of an evaluation are checked before any file is read."""

import pytest

from segfocal.errors import UserError
from tests.evaluate.folders import mask_evaluation


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": ["volume"]}, "overlap, surface, lesions"),
        ({"tolerance_mm": -1}, "tolerance"),
        ({"tolerance_mm": {"ball": "wide"}}, "wide for ball"),
        ({"lesion_overlap": 1.0}, "lesion_overlap"),
    ],
)
def test_settings_that_cannot_be_are_told(options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        mask_evaluation(tmp_path, tmp_path, **options)
