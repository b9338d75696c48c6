"""What a header promises is held against the memory that is free, before anything is allocated."""

import pytest

from segfocal import memory
from segfocal.errors import UserError


def test_what_fits_passes_and_what_does_not_is_one_line_with_both_sizes(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 << 30)
    memory.check_fits(3 << 30, "pixels", tmp_path / "a.dcm")
    with pytest.raises(UserError, match=r"into the 3 GiB of memory that are free; found 10 GiB promised") as caught:
        memory.check_fits(10 << 30, "pixels", tmp_path / "a.dcm")
    assert "a.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_petabyte_is_refused_on_this_machine():
    assert 2**20 < memory.available_bytes() < 2**50
    with pytest.raises(UserError, match="that fit into"):
        memory.check_fits(2**50, "voxels", "a.nii")
