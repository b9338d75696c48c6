"""What a worker's process does, without Ray: it says where it cannot work, and answers instead of raising."""

import pickle

import pytest

from segfocal.cluster.ray_worker import RayWorker, WorkerPreparation
from segfocal.errors import UserError


def half():
    return halved


def halved(number):
    if number % 2:
        raise UserError(expected="an even number", found=f"{number}", do="add 1")
    return number // 2


def broken():
    raise UserError(expected="a bundle", found="none", do="give one")


def preparation(make=half, folders=()):
    return WorkerPreparation(make_work=pickle.dumps(make), imports=(), folders=folders, memory_bytes=None)


def test_what_fails_is_an_answer():
    worker = RayWorker()
    assert worker.prepare(preparation()).failure is None
    assert worker.do(8).result == 4
    assert (worker.do(7).failure, worker.do(7).elsewhere) == ("expected an even number; found 7. Add 1.", False)
    assert worker.do("8").elsewhere  # unforeseen: another machine may do better


def test_what_loading_raises_is_told_as_it_is():
    answer = RayWorker().prepare(preparation(broken))
    assert isinstance(answer.error, UserError)
    assert answer.failure == str(answer.error)


@pytest.mark.parametrize(("token", "seen"), [(None, True), ("known", True), ("of_another", False)])
def test_a_folder_is_known_by_a_file_in_it(tmp_path, token, seen):
    (tmp_path / "known").touch()
    failure = RayWorker().prepare(preparation(folders=[(tmp_path, token)])).failure
    assert (failure is None) is seen
    assert seen or f"the folder {tmp_path} of the machine" in failure
    assert "no such folder" in RayWorker().prepare(preparation(folders=[(tmp_path / "gone", None)])).failure
