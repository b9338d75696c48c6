"""Runs read back from their folders: how each ended, and the command that repeats it."""

import pytest

from segfocal.compare.runs import note_refusal, note_start, read_runs, refused
from segfocal.errors import UserError
from tests.compare.runs import make_run


def test_a_run_cut_short_is_unfinished_and_a_command_is_quoted_where_a_shell_would_read_it(tmp_path):
    make_run(tmp_path / "run", {}, "gamma={linear:{0:0,1:2}}", finished=False)
    (run,) = read_runs([tmp_path / "run"])
    assert run.status == "unfinished"
    assert run.metrics == {}
    assert run.command == "python scripts/train.py 'gamma={linear:{0:0,1:2}}'"


def test_a_refusal_leaves_an_earlier_result_alone_and_a_new_start_does_not(tmp_path):
    make_run(tmp_path / "run", {"x": 0.5}, "seed=1")
    note_refusal(tmp_path / "run", ["seed=2"], "another run lies there")
    assert read_runs([tmp_path])[0].finished
    assert refused(tmp_path) == [f"{tmp_path / 'run'}: another run lies there"]
    note_start(tmp_path / "run", ["seed=1"])
    assert read_runs([tmp_path])[0].status == "unfinished"


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="run directory"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        read_runs([tmp_path / "nowhere"])
