"""The options of the view command, and a training run that is judged when it is looked at first."""

import json

import pytest
from omegaconf import OmegaConf

from segfocal.cli import view as command
from segfocal.cli.app import conf_folder
from segfocal.errors import UserError
from tests.random_bundle import make_bundle
from tests.scans import make_sphere_cases

pytest.importorskip("fastapi", reason="the extra serve is not installed")


def options(**changes):
    config = OmegaConf.load(conf_folder() / "view.yaml")
    config.merge_with({"input": "results", **changes})
    return command.view_options(OmegaConf.to_container(config))


@pytest.fixture
def run(tmp_path):
    """A folder as training leaves it: the config and the bundle."""
    make_sphere_cases(tmp_path / "data", 2, splits=["train", "val"])
    make_bundle(tmp_path / "run" / "bundle")
    data = {"root": str(tmp_path / "data" / "cases.csv"), "hold_out": 0.2, "split_seed": 0}
    OmegaConf.save({"data": data, "target": 1, "cache": str(tmp_path)}, tmp_path / "run" / "config.yaml")
    return tmp_path / "run"


def test_what_cannot_be_is_told_in_one_line(tmp_path):
    from segfocal.serve.view.run_view import find_evaluations

    with pytest.raises(UserError, match="port from 0 to 65535"):
        options(port=-1)
    with pytest.raises(UserError, match="a server that other machines can reach"):
        options(host="0.0.0.0")
    assert options(host="0.0.0.0", key="0123456789abcdef").images is None
    with pytest.raises(UserError, match="nothing there"):
        find_evaluations(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_validation_cases_of_a_run_are_segmented_and_judged_once(run, capsys, monkeypatch):
    from segfocal.serve.view import run_view

    seen = []
    monkeypatch.setattr(run_view, "view", lambda options, say: seen.append(run_view.find_evaluations(options.results)))
    config = OmegaConf.create({"input": str(run), "image": None, "host": "127.0.0.1", "port": 0, "key": None})
    command.view(config)
    assert "segmenting 1 validation case into" in capsys.readouterr().out
    (evaluated,) = seen[0]
    (case,) = evaluated.cases
    assert case.files.prediction.is_file()
    assert case.files.image.is_file()
    facts = json.loads((run / "validation" / "evaluation" / "metrics.json").read_text())
    assert {row["case"] for row in facts["cases"]} == {case.files.name}
    command.view(config)
    assert capsys.readouterr().out == ""
    assert len(seen) == 2


def test_a_run_of_a_model_that_needs_prompts_is_refused(run):
    make_bundle(run / "bundle", needs_prompts=True)
    with pytest.raises(UserError, match="a model that needs prompts"):
        command.judge_run(run)
