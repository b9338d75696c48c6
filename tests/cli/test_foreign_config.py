"""Files of a config that came with data run no program: what Hydra would start is refused by name before it starts."""

import pytest
import yaml

from tests.system.commands import segfocal

MARKER = """
from pathlib import Path


def touch(*arguments, **options):
    (Path(__file__).parent / "ran").touch()


class Touch:
    def __init__(self, *arguments, **options):
        touch()


touch()
"""
CALL = {"_target_": "foreign_program.touch"}


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A folder with a module that leaves a mark when it is imported or called, and the working folder."""
    (tmp_path / "foreign_program.py").write_text(MARKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(folder, content, defaults=()):
    (folder / "conf" / "experiment").mkdir(parents=True)
    text = yaml.safe_dump({"defaults": list(defaults), **content} if defaults else content)
    (folder / "conf" / "experiment" / "suggested.yaml").write_text(f"# @package _global_\n{text}")
    return ["--config-dir", str(folder / "conf"), "experiment=suggested"]


HYDRA = {
    "hydra.callbacks.x": {"callbacks": {"x": CALL}},
    "hydra.callbacks.compare": {"callbacks": {"compare": CALL}},
    "hydra.callbacks.compare nested": {"callbacks": {"compare": {"more": CALL}}},
    "hydra.callbacks.y": {"callbacks": {"y": "${program}"}},
    "hydra.callbacks.z": {"callbacks": {"z": "${oc.create:{_target_:foreign_program.touch}}"}},
    "hydra.launcher._target_": {"launcher": CALL},
    "hydra.sweeper._target_": {"sweeper": CALL, "mode": "MULTIRUN"},
    "hydra.sweeper.params.x._target_": {"sweeper": {"params": {"x": CALL}}},
    "hydra.job.env_set": {"job": {"env_set": {"LD_PRELOAD": "x.so"}}},
    "hydra.job.chdir": {"job": {"chdir": True}},
    "hydra.output_subdir": {"output_subdir": "../../x"},
    "hydra.job_logging.filters.f.()": {"job_logging": {"filters": {"f": {"()": "foreign_program.Touch"}}}},
    "hydra.job_logging.handlers.h.class": {"job_logging": {"handlers": {"h": {"class": "foreign_program.Touch"}}}},
    "hydra.hydra_logging.formatters.f.x": {
        "hydra_logging": {"formatters": {"f": {"x": "ext://foreign_program.touch"}}}
    },
}


@pytest.mark.parametrize("name", HYDRA)
def test_a_file_cannot_have_hydra_run_anything(name, foreign, monkeypatch, capfd):
    options = experiment(foreign, {"hydra": HYDRA[name], "program": CALL})
    assert segfocal(monkeypatch, "train", *options) == 1
    said = capfd.readouterr().err
    assert f"expected {name.split(' ')[0]} typed on the command line" in said
    assert "Traceback" not in said
    assert not (foreign / "ran").exists()


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_file_cannot_choose_a_launcher(launcher, foreign, monkeypatch, capfd):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    options = experiment(foreign, {"hydra": {"mode": "MULTIRUN"}}, [{"override /hydra/launcher": launcher}])
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "expected hydra.launcher typed on the command line" in capfd.readouterr().err


def test_a_file_cannot_have_commands_run_by_a_launcher_that_was_chosen(foreign, monkeypatch, capfd):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    options = experiment(foreign, {"hydra": {"mode": "MULTIRUN", "launcher": {"setup": ["touch ran"]}}})
    assert segfocal(monkeypatch, "train", *options, "hydra/launcher=submitit_slurm") == 1
    assert "expected hydra.launcher.setup typed on the command line" in capfd.readouterr().err


def test_a_file_cannot_name_a_search_space_of_a_sweeper(foreign, monkeypatch, capfd):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    space = {"hydra": {"mode": "MULTIRUN", "sweeper": {"custom_search_space": "foreign_program.touch"}}}
    options = experiment(foreign, space, [{"override /hydra/sweeper": "optuna"}])
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "expected hydra.sweeper.custom_search_space typed on the command line" in capfd.readouterr().err
    assert not (foreign / "ran").exists()


@pytest.mark.parametrize("imports", [["foreign_program"], "foreign_program"])
def test_a_file_cannot_import_a_module(imports, foreign, monkeypatch, capfd):
    options = experiment(foreign, {"imports": imports})
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "expected imports typed on the command line" in capfd.readouterr().err
    assert not (foreign / "ran").exists()


TREE = {
    "augment": {"augment": {"x": CALL}},
    "augment hidden": {"augment": {"x": "${program}"}, "program": CALL},
    "task": {"task": {"first": CALL}},
    "loss": {"loss": {"terms": {"focal": CALL}}},
    "intensity": {"intensity": CALL},
    "model": {"model": CALL},
    "train": {"train": {"x": CALL}},
    "environment": {"loss": {"_target_": "${oc.env:PROGRAM}"}},
}


@pytest.mark.parametrize("name", TREE)
def test_a_file_cannot_have_a_command_build_anything_else(name, foreign, monkeypatch, capfd):
    monkeypatch.setenv("PROGRAM", "foreign_program.touch")
    assert segfocal(monkeypatch, "train", *experiment(foreign, TREE[name])) == 1
    said = capfd.readouterr().err
    assert "_target_ to name a loss" in said
    assert "Traceback" not in said
    assert not (foreign / "ran").exists()


@pytest.mark.parametrize(
    "option",
    [
        "+augment.x._target_=foreign_program.touch",
        "+task.plan.x._target_=foreign_program.touch",
        "loss.terms.dice._target_=foreign_program.Touch",
        "+intensity.x=[{_target_:foreign_program.touch}]",
        "+anything={a:{_target_:foreign_program.touch,_partial_:true}}",
        "+anything._target_=os.mkdir",
    ],
)
@pytest.mark.parametrize("command", ["train", "show-augment", "prepare", "fingerprint"])
def test_the_command_line_cannot_either(command, option, foreign, monkeypatch, capfd):
    if "task" in option or "loss" in option or "augment" in option:
        command = "train"
    assert segfocal(monkeypatch, command, option) == 1
    assert "_target_ to name a loss" in capfd.readouterr().err
    assert not (foreign / "ran").exists()


def test_what_was_typed_may_run(foreign, monkeypatch):
    options = ["+hydra.callbacks.x._target_=foreign_program.touch", "--cfg", "job"]
    assert segfocal(monkeypatch, "train", *options) == 0
