"""What is settled of a config as soon as Hydra has put it together: folders of runs, of sweeps and of their jobs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from segfocal.cli.app import conf_folder, register_resolvers
from tests.system.commands import segfocal


def hydra_of(*overrides):
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        return compose("train", overrides=list(overrides), return_hydra_config=True).hydra


def test_a_folder_of_short_safe_options_is_named_by_them():
    assert hydra_of("seed=1", "loss=focal+dice").sweep.subdir == "loss=focal+dice,seed=1"


def test_a_sweep_of_our_experiments_keeps_its_names():
    assert hydra_of("experiment=alpha_gamma", "seed=3").sweep.subdir == "alpha=0.9,gamma=2.0,seed=3"


def sweep(monkeypatch, *options):
    """Return the folders of a sweep's jobs, which do nothing."""
    folders = []
    job = "segfocal.cli.train.train"
    monkeypatch.setattr(job, lambda config: folders.append(Path(HydraConfig.get().runtime.output_dir)))
    monkeypatch.setattr("segfocal.cli.compare.AfterMultirun.on_multirun_end", lambda *_, **__: None)
    assert segfocal(monkeypatch, "train", "-m", *options) == 0
    return folders


@pytest.mark.parametrize(
    "root",
    ["../../x", "/abs/x", "a/b", "'~/x'", "..", "'x y'", "'a;rm -rf b'", "x" * 300, "'é" + "ü" * 150 + "'", "[1,2]"],
)
def test_a_folder_of_other_options_is_one_safe_short_name_inside_the_sweep(root):
    name = hydra_of(f"data.root={root}", "seed=1").sweep.subdir
    assert name == Path(name).name
    assert len(name.encode()) <= 96
    assert not set(name) & set("/\\ ;'\"[]{}$~*?<>|:\n")
    assert name.startswith("data.root=")


def test_different_options_have_different_folders():
    roots = ["a/b", "a_b", "a b", "../a/b", "x" * 200, "x" * 201, "[1,2]", "[1, 2]"]
    names = {hydra_of(f"data.root='{root}'").sweep.subdir for root in roots}
    assert len(names) == len(roots)
    assert hydra_of("data.root='a/b'").sweep.subdir == hydra_of("data.root='a/b'").sweep.subdir


def test_a_name_of_ones_own_is_made_safe_too():
    name = hydra_of("hydra.sweep.subdir='lr=${train.lr},root=${data.root}'", "data.root=../x").sweep.subdir
    assert name.startswith("lr=auto,root=")
    assert "/" not in name


def test_a_name_without_options_holds_a_folder_for_each_job():
    names = {hydra_of("hydra.sweep.subdir=same/place", f"seed={seed}").sweep.subdir for seed in (0, 1)}
    assert names == {"same/place/seed=0", "same/place/seed=1"}
    assert hydra_of("hydra.sweep.subdir=../x", "seed=0").sweep.subdir.split("/")[0] != ".."


def test_the_number_of_a_job_is_filled_in_when_it_starts(tmp_path, monkeypatch):
    folders = sweep(
        monkeypatch, f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir='${hydra.job.num}_${seed}'", "seed=4,5"
    )
    assert folders == [tmp_path / "0_4", tmp_path / "1_5"]


@pytest.mark.parametrize("option", ["loss=null", "model=3", "augment={a:1}"])
def test_a_group_without_a_choice_is_one_line(option, monkeypatch, capfd):
    assert segfocal(monkeypatch, "train", option) == 1
    said = capfd.readouterr().err
    assert said.startswith("error")
    assert said.count("\n") == 1


def test_folders_of_runs_may_lie_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/me")
    hydra = hydra_of("hydra.run.dir='~/x'", "hydra.sweep.dir='~/y/${seed}'")
    assert (hydra.run.dir, hydra.sweep.dir) == ("/home/of/me/x", "/home/of/me/y/0")


@pytest.mark.parametrize("place", ["~/sweep", "'~/sweep'"])
def test_jobs_of_a_sweep_run_inside_its_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folders = sweep(monkeypatch, "data.root=../../x,a/b", f"hydra.sweep.dir={place}")
    assert len(set(folders)) == 2
    assert {folder.parent for folder in folders} == {tmp_path / "home" / "sweep"}
    assert not (tmp_path / "~").exists()


def test_a_run_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "it's home"))
    found = []
    monkeypatch.setattr("segfocal.cli.train.train", lambda config: found.append(HydraConfig.get().runtime.output_dir))
    assert segfocal(monkeypatch, "train", "hydra.run.dir=~/a b") == 0
    assert found == [str(tmp_path / "it's home" / "a b")]
