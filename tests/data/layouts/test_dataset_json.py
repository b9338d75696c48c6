"""A dataset.json that names what is not read is refused."""

import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError


def test_an_nnunet_ending_that_is_not_read_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"liver": 1}, "file_ending": ".nrrd"}')
    with pytest.raises(UserError, match=r"found \"file_ending\": '.nrrd'"):
        read_cases(tmp_path)
