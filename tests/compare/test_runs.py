"""Runs read back from their folders: how each ended, and the command that repeats it."""

import pytest
import yaml

from segfocal.compare.ranking import varied
from segfocal.compare.runs import note_refusal, note_start, read_runs, refused
from segfocal.errors import UserError
from tests.compare.runs import make_run


def test_a_run_cut_short_is_unfinished_and_a_command_is_quoted_where_a_shell_would_read_it(tmp_path):
    make_run(tmp_path / "run", {}, "gamma={linear:{0:0,1:2}}", finished=False)
    (run,) = read_runs([tmp_path / "run"])
    assert run.status == "unfinished"
    assert run.metrics == {}
    assert run.command == "segfocal train 'gamma={linear:{0:0,1:2}}'"


def test_a_refusal_leaves_an_earlier_result_alone_and_a_new_start_does_not(tmp_path):
    make_run(tmp_path / "run", {"x": 0.5}, "seed=1")
    note_refusal(tmp_path / "run", ["seed=2"], "another run lies there")
    assert read_runs([tmp_path])[0].finished
    assert refused(tmp_path) == [f"{tmp_path / 'run'}: another run lies there"]
    note_start(tmp_path / "run", ["seed=1"])
    assert read_runs([tmp_path])[0].status == "unfinished"


@pytest.mark.parametrize(
    ("typed", "in_config"),
    [
        ("data.window=[32,32]", {"data": {"window": [32, 32]}}),
        ("train.clip_norm=null", {"train": {"clip_norm": None}}),
        ("train.tf32=true", {"train": {"tf32": True}}),
        ("train.lr=1e-3", {"train": {"lr": 0.001}}),
        ("+train.lr=1.0e-3", {"train": {"lr": 0.001}}),
        ("target='a b'", {"target": "a b"}),
        ("target=[liver,spleen]", {"target": ["liver", "spleen"]}),
        ("loss=focal+dice", {"loss": "focal+dice"}),
        ("target=[{kidneys:[2,3]}]", {"target": [{"kidneys": [2, 3]}]}),
        ("data.root=/a/b:c", {"data": {"root": "/a/b:c"}}),
    ],
)
def test_an_option_typed_for_a_failed_run_equals_that_of_a_finished_one(typed, in_config, tmp_path):
    make_run(tmp_path / "failed", {}, typed, error="broken")
    make_run(tmp_path / "finished", {"x": 0.5}, typed)
    (tmp_path / "finished" / "config.yaml").write_text(yaml.safe_dump(in_config))
    failed, finished = read_runs([tmp_path])
    option = typed.lstrip("+").split("=")[0]
    assert failed.value(option) == finished.value(option)
    assert failed.asked == [typed]
    assert varied([failed, finished]) == []


def test_aliases_in_an_option_are_not_followed(tmp_path):
    bomb = "x=[&a [1,1],&b [*a,*a],[*b,*b]]"
    make_run(tmp_path / "run", {"x": 0.5}, bomb)
    assert read_runs([tmp_path])[0].value("x") == bomb.removeprefix("x=")


def test_a_config_of_a_run_is_data(tmp_path):
    make_run(tmp_path / "run", {"x": 0.5}, "seed=1")
    hidden = (
        "loss: {_target_: os.mkdir, path: made}\nhydra: {callbacks: {x: {_target_: os.mkdir}}}\nseed: ${oc.env:HOME}\n"
    )
    (tmp_path / "run" / "config.yaml").write_text(hidden)
    assert read_runs([tmp_path])[0].value("loss._target_") == "os.mkdir"
    assert read_runs([tmp_path])[0].value("seed") == "${oc.env:HOME}"


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
