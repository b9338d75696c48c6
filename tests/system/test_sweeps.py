"""Experiments that are many runs: the grid, a failing run, and what a second call of the same command does."""

import csv
import importlib.util
import math
import os
import re
import subprocess
import sys

import pytest
import yaml
from safetensors.torch import save_file

from segfocal.cli.app import conf_folder
from segfocal.models import lite_medsam
from tests.system.commands import SMALL, segfocal

EXPERIMENTS = sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))


def grid(data, folder, *options):
    return [
        "experiment=alpha_gamma",
        "data=csv",
        f"data.root={data}",
        *SMALL,
        f"cache={folder.parent}/prepared",
        f"hydra.sweep.dir={folder}",
        "train.steps=2",
        "train.validate_every=0",
        "augment=none",
        *options,
    ]


def results(folder):
    return list(csv.DictReader((folder / "comparison" / "results.csv").open()))


@pytest.mark.slow
def test_a_grid_of_alpha_and_gamma_is_a_table_and_a_heatmap(spheres, tmp_path, monkeypatch, capfd):
    options = ["sweep.alpha=[0.1,0.25,0.4]", "sweep.gamma=[1,2,4]"]
    assert segfocal(monkeypatch, "train", *grid(spheres, tmp_path / "grid", *options)) == 0
    rows = results(tmp_path / "grid")
    assert len(rows) == 9
    names = ("dice", "iou", "precision", "recall", "accuracy", "auc", "hd95_mm", "tp", "fp", "fn", "tn")
    assert all(math.isfinite(float(row[name])) for row in rows for name in names)
    assert (tmp_path / "grid" / "comparison" / "heatmap.png").stat().st_size > 1000
    assert (tmp_path / "grid" / "alpha=0.1,gamma=4,seed=0" / "summary.json").is_file()
    assert "comparison: " in capfd.readouterr().out


@pytest.mark.slow
def test_a_failed_run_is_marked_and_made_alone_by_the_same_command(spheres, tmp_path, monkeypatch, capfd):
    options = grid(spheres, tmp_path / "grid", "sweep.alpha=[0.1,0.25]", "sweep.gamma=[1,2]")
    trained = []
    loop = "segfocal.engine.train.train_loop"
    from segfocal.engine.loop import train_loop

    def broken(run, *arguments):
        focal = run.plan.task.criterion.terms["focal"]
        trained.append((float(focal.alpha), focal.gamma))
        if trained[-1] == (0.25, 2.0) and len(trained) <= 4:
            raise MemoryError("12 GiB")
        return train_loop(run, *arguments)

    monkeypatch.setattr(loop, broken)
    assert segfocal(monkeypatch, "train", *options) == 1
    rows = results(tmp_path / "grid")
    assert sorted(row["status"] for row in rows) == ["failed", "finished", "finished", "finished"]
    assert "no result: " in capfd.readouterr().err
    assert segfocal(monkeypatch, "train", *options) == 0
    assert trained[4:] == [(0.25, 2.0)]
    assert [row["status"] for row in results(tmp_path / "grid")] == ["finished"] * 4


@pytest.mark.slow
def test_a_sweep_that_would_replace_other_runs_says_so_and_the_first_command_still_finds_them(
    spheres, tmp_path, monkeypatch, capfd
):
    options = grid(spheres, tmp_path / "grid", "sweep.alpha=[0.1]", "sweep.gamma=[1]")
    assert segfocal(monkeypatch, "train", *options) == 0
    assert segfocal(monkeypatch, "train", *options, "train.lr=0.1") == 1
    said = capfd.readouterr().err
    assert "train.lr=0.1 (was auto)" in said
    assert "refused: " in said  # by the comparison too, which sees runs of any launcher
    assert segfocal(monkeypatch, "train", *options) == 0


@pytest.mark.slow
def test_a_search_goes_where_dice_is_and_repeats_no_trial(spheres, tmp_path, monkeypatch, capfd):
    options = ["experiment=search", "sweep.trials=3", *grid(spheres, tmp_path / "search")[1:]]
    assert segfocal(monkeypatch, "train", *options) == 0
    first = {folder.name: folder.read_text() for folder in (tmp_path / "search").glob("*/summary.json")}
    assert len(results(tmp_path / "search")) == 3
    best = max(float(row["dice"]) for row in results(tmp_path / "search"))
    found = yaml.safe_load((tmp_path / "search" / "optimization_results.yaml").read_text())
    assert found["best_value"] == pytest.approx(best)
    capfd.readouterr()
    assert segfocal(monkeypatch, "train", *options) == 0
    assert capfd.readouterr().out.count("finished before") == 3
    assert {folder.name: folder.read_text() for folder in (tmp_path / "search").glob("*/summary.json")} == first


MANY_RUNS = {"gamma_schedule", "imbalance", "losses"}
LONG = MANY_RUNS | {"imbalance_aorta", "alpha_gamma", "search", "aorta", "prompt_unet", "lesions"}  # run in CI
UNETS = ("unet", "unet_3d", "imbalance_aorta", "lesions")


@pytest.mark.parametrize("name", [n if n not in LONG else pytest.param(n, marks=pytest.mark.slow) for n in EXPERIMENTS])
def test_every_experiment_runs_two_steps(name, spheres, tmp_path, monkeypatch):
    own = (*UNETS, "finetune_decoder", "prompt_unet", "prompt_unet_3d")  # sizes of their models
    small = [o for o in SMALL if name not in own or not o.startswith("model.")]
    options = ["data=csv", f"data.root={spheres}", *small, f"cache={tmp_path}/prepared", "train.steps=2"]
    options += ["train.validate_every=0", "augment=none", f"hydra.run.dir={tmp_path / 'run'}"]
    options += [f"hydra.sweep.dir={tmp_path / 'run'}"]
    swept = {
        "alpha_gamma": ["sweep.alpha=[0.25]", "sweep.gamma=[2]"],
        "finetune_decoder": [f"model.weights={tmp_path / 'weights.safetensors'}", "model.image_size=32"],
        "imbalance_aorta": ["sweep.imbalance=[prior,hard_replay]", "model.widths=[8,16,16]"],
        "lesions": [
            "sweep.loss=[focal+dice,focal+cc_dice]",
            "model.widths=[8,16,16]",
            "data.label_names=null",
            "target=1",
        ],
        "losses": ["sweep.loss=[dice,focal+dice]"],  # each loss trains in test_losses.py
        "prompt_unet": ["model.widths=[8,8,16]", "train.minutes=null"],
        "prompt_unet_3d": [
            "model.widths=[8,8,16]",
            "train.minutes=null",
            "data.window=[8,32,32]",
            "data.spacing_mm=[2,2,2]",
        ],
        "search": ["sweep.trials=1"],
        "unet": ["model.widths=[8,16,16]"],
        "unet_3d": ["model.widths=[8,16,16]", "data.window=[8,32,32]", "data.spacing_mm=[2,2,2]"],
        "sam_med2d": ["model=sam_tiny", "task.multimask=single"],  # its own model has 271 million parameters
    }
    if name == "finetune_decoder":
        save_file(lite_medsam(image_size=32).state_dict(), tmp_path / "weights.safetensors")
    seeds = ["sweep.seed=[0]"] if name in (*MANY_RUNS, "imbalance_aorta", "lesions") else []
    assert segfocal(monkeypatch, "train", f"experiment={name}", *options, *swept.get(name, []), *seeds) == 0
    assert list((tmp_path / "run").glob("**/summary.json"))


LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.timeout_min=10"],
    "ray": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_other_launchers_finish_a_sweep_of_four_jobs(launcher, spheres, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    chosen = [f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    options = grid(spheres, tmp_path / "grid", "sweep.alpha=[0.1,0.25]", "sweep.gamma=[1,2]", *chosen)
    command = [sys.executable, conf_folder().parent / "scripts" / "train.py", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr
    assert [row["status"] for row in results(tmp_path / "grid")] == ["finished"] * 4


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_a_sweep_on_workers_marks_the_job_that_fails_and_the_same_command_makes_it_alone(spheres, tmp_path):
    later = tmp_path / "later.csv"  # not there at first
    options = [o for o in grid(spheres, tmp_path / "grid", "cluster=ray", "cluster.actors=2") if "data.root" not in o]
    options = ["-m", *options[1:], f"data.root={spheres},{later}", "seed=0,1", "resume=auto"]
    command = [sys.executable, conf_folder().parent / "scripts" / "train.py", *options]

    def made():
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=900)

    first = made()
    assert first.returncode == 1, first.stderr
    rows = results(tmp_path / "grid")
    assert sorted(row["status"] for row in rows) == ["failed", "failed", "finished", "finished"]
    assert first.stderr.count(f"nothing there in {later}") == 2
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "grid").glob("*/metrics.jsonl")}
    assert len(before) == 2
    later.write_text(spheres.read_text())
    second = made()
    assert second.returncode == 0, second.stderr
    assert [row["status"] for row in results(tmp_path / "grid")] == ["finished"] * 4
    assert {file: file.stat().st_mtime_ns for file in before} == before
    page = (tmp_path / "grid" / "comparison" / "compare.html").read_text()
    headings = re.findall(r"<th[^>]*>(.*?)</th>", page)
    assert "data.root" in " ".join(headings)
    assert "cluster" not in " ".join(headings)  # where runs were made is nothing to compare them by


def test_one_run_alone_is_not_for_workers(spheres, tmp_path, monkeypatch, capfd):
    options = ["data=csv", f"data.root={spheres}", f"hydra.run.dir={tmp_path / 'run'}", "target=1", "cluster=ray"]
    assert segfocal(monkeypatch, "train", *options) == 1
    said = capfd.readouterr().err
    assert "found one run with cluster=ray" in said
    assert "torchrun" in said
