"""Arrays that grow on disk: written through any view, released and read back, and never left behind."""

import errno
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.io.scratch import release, scratch_array


def test_what_was_written_through_a_view_is_there_after_its_memory_was_given_back(tmp_path):
    with scratch_array(tmp_path, (5, 7, 300), np.uint16) as array:
        assert not array.any()
        turned = array.transpose(2, 0, 1)[::-1]
        for index in range(300):
            turned[index] = index
            release(array)
        np.testing.assert_array_equal(array[0, 0], np.arange(300)[::-1])
    assert not list(tmp_path.iterdir())


def test_an_array_in_memory_is_released_to_no_effect():
    array = np.ones((2, 3))
    release(array)
    assert array.all()


def test_what_was_changed_in_a_file_opened_for_reading_is_not_forgotten(tmp_path):
    np.zeros(9, np.uint8).tofile(tmp_path / "scan")
    array = np.memmap(tmp_path / "scan", np.uint8, mode="c")
    array[:] = 7
    release(array)
    assert (array == 7).all()


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="nothing is given back there")
def test_no_disk_is_waited_for(tmp_path, monkeypatch):
    class Slow(mmap.mmap):
        def flush(self, *_):
            pytest.fail("waited for the disk")

    monkeypatch.setattr(mmap, "mmap", Slow)  # np.memmap asks for it when it maps
    with scratch_array(tmp_path, (4, 5), np.uint8) as array:
        array[:] = 3
        release(array)
        assert (array == 3).all()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file keeps its name there")
def test_a_kill_leaves_nothing_behind(tmp_path):
    code = (
        "import os, sys, pathlib, numpy as np; from segfocal.io.scratch import scratch_array\n"
        "with scratch_array(pathlib.Path(sys.argv[1]), (9, 9, 9), np.uint8) as array:\n"
        "    array[:] = 1; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(UserError, match="room for 8 MiB; found No space left"),
        scratch_array(tmp_path, (2048, 4096), "u1"),
    ):
        pass
    assert not list(tmp_path.iterdir())
