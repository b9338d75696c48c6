"""A folder is held by one process at a time, and free as soon as that one ends, however it ends."""

import errno
import os
import signal

import filelock
import pytest

from segfocal.errors import UserError
from segfocal.folder_lock import only_one
from tests.holder import holding


def test_a_second_process_is_refused_and_a_kill_lets_it_in(tmp_path):
    with holding(tmp_path) as process:
        with pytest.raises(UserError, match="another segfocal process") as told, only_one(tmp_path, doing="train"):
            pass
        assert str(tmp_path) in str(told.value)
        os.kill(process.pid, signal.SIGKILL)
        with only_one(tmp_path, doing="train"):
            pass


def test_one_process_holds_many_folders_and_each_again(tmp_path):
    for _ in range(2):
        with only_one(tmp_path / "a", doing="train"), only_one(tmp_path / "b", doing="train"):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_the_file_system_knows_no_locks_the_work_goes_on_with_one_warning(tmp_path, monkeypatch, number):
    def flock(descriptor, how):
        if how != filelock._unix.fcntl.LOCK_UN:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock._unix.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="cannot be locked") as told, only_one(tmp_path, doing="train"):
        done = True
    assert done
    assert len(told) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a place to write to"), only_one(tmp_path / "file", doing="train"):
        pass


def test_a_folder_in_which_nothing_was_done_is_left_empty(tmp_path):
    with only_one(tmp_path / "a", doing="train"), pytest.raises(UserError), only_one(tmp_path / "a", doing="train"):
        pass
    assert list((tmp_path / "a").iterdir()) == []
