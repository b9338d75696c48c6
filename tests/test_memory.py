"""What a header promises is held against the memory that is free, before anything is allocated."""

from types import SimpleNamespace

import pytest

from segfocal import memory
from segfocal.errors import UserError


def test_what_fits_passes_and_what_does_not_is_one_line_with_both_sizes(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 << 30)
    memory.check_available(3 << 30, where=tmp_path / "a.dcm", what="a series")
    with pytest.raises(UserError, match=r"a series that fits into the 3 GiB .*; found one that takes 10 GiB") as caught:
        memory.check_available(10 << 30, where=tmp_path / "a.dcm", what="a series")
    assert "a.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_petabyte_is_refused_on_this_machine(tmp_path):
    assert 2**20 < memory.available_bytes() < 2**50
    with pytest.raises(UserError, match="that fits into"):
        memory.check_available(2**50, where=tmp_path, what="a volume")


def test_memory_is_given_back_where_the_c_library_can(monkeypatch):
    asked = []
    library = SimpleNamespace(malloc_trim=asked.append)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    memory.give_back()
    assert asked == [0]
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    memory.give_back()
