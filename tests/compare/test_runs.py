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


def test_a_config_of_aliases_of_aliases_is_refused_at_once_and_named(tmp_path):
    make_run(tmp_path / "a", {"x": 0.5})
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 9)}]\n" for n in range(30))
    (tmp_path / "a" / "config.yaml").write_text(bomb)
    with pytest.raises(UserError, match=r"without|writes each value out") as told:
        read_runs([tmp_path])
    assert str(tmp_path / "a" / "config.yaml") in str(told.value)


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"overrides": "loss=dice"}', '{"overrides": [1]}', "{}", "[" * 100_000]
)
def test_a_run_json_of_another_form_is_one_line_that_names_it(tmp_path, text):
    make_run(tmp_path / "a", {"x": 0.5})
    (tmp_path / "a" / "run.json").write_text(text)
    with pytest.raises(UserError) as told:
        read_runs([tmp_path])
    assert str(tmp_path / "a" / "run.json") in str(told.value)
