"""The two walks from end to end: scans to a bundle, a scan to a mask, a mask to figures."""

import csv
import json
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segfocal.cli import main as cli_main
from segfocal.engine import checkpoint
from tests.system.commands import segfocal, small_training


def held(spheres, kind):
    with spheres.open() as file:
        return spheres.parent / next(row[kind] for row in csv.DictReader(file) if row["name"] == "held")


def test_a_run_directory_holds_everything(run):
    for name in (
        "config.yaml",
        "environment.json",
        "parameters.csv",
        "metrics.csv",
        "metrics.jsonl",
        "loss.png",
        "overlays/held.png",
        "checkpoints/step_000080/model.safetensors",
        "checkpoints/best/bundle.json",
        "bundle/model.safetensors",
        "bundle/bundle.json",
        "summary.json",
    ):
        assert (run / name).stat().st_size > 0, name
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 81))
    assert all(np.isfinite(float(row[name])) for row in rows for name in ("loss", "focal", "dice", "lr", "grad_norm"))
    assert [row["step"] for row in rows if row["val_dice"]] == ["40", "80"]


def test_the_small_model_has_learnt(run):
    scores = json.loads((run / "summary.json").read_text())["scores"]
    assert {score["prompt"] for score in scores} == {"none", "box"}
    assert min(score["dice"] for score in scores) > 0.5  # bright spheres: far above what an untrained model gets


def test_predict_then_evaluate_gives_the_figures_of_the_training_run(run, spheres, tmp_path, monkeypatch, capsys):
    mask, image, label = tmp_path / "out" / "mask.nii.gz", held(spheres, "image"), held(spheres, "label")
    assert segfocal(monkeypatch, "predict", f"bundle={run / 'bundle'}", f"input={image}", f"output={mask}") == 0
    assert segfocal(monkeypatch, "evaluate", f"prediction={mask}", f"reference={label}") == 0
    assert "label_1" in capsys.readouterr().out
    row = next(csv.DictReader((tmp_path / "out" / "mask_evaluation" / "metrics.csv").open()))
    known = json.loads((run / "summary.json").read_text())["scores"][0]
    assert (int(row["tp"]), int(row["fp"]), int(row["fn"])) == (known["tp"], known["fp"], known["fn"])
    assert (tmp_path / "out" / "mask_evaluation" / "overlay.png").stat().st_size > 0
    scan, written = nib.load(image), nib.load(mask)
    assert written.shape == scan.shape
    assert np.array_equal(written.affine, scan.affine)
    assert written.get_data_dtype() == np.uint8
    for form in ("sform", "qform"):
        assert written.header[f"{form}_code"] == scan.header[f"{form}_code"]
    report = json.loads((tmp_path / "out" / "mask.json").read_text())
    assert report["structures"] == {"label_1": 1}


def test_boxes_from_a_file_prompt_only_their_slices(run, spheres, tmp_path, monkeypatch):
    image, mask, boxes = held(spheres, "image"), tmp_path / "mask.nii.gz", tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"lower": [12, 10, 3], "upper": [23, 21, 5]}]))
    options = [f"bundle={run / 'bundle'}", f"input={image}", f"output={mask}", "prompt=box", f"prompts={boxes}"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    found = np.asarray(nib.load(mask).dataobj)
    assert set(np.flatnonzero(found.any((0, 1)))) <= {3, 4, 5}
    assert found.any()


def test_the_bundle_forgets_where_it_was_made(run, spheres, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    shutil.copytree(run / "bundle", moved)
    mask = tmp_path / "mask.nii"
    assert segfocal(monkeypatch, "predict", f"bundle={moved}", f"input={held(spheres, 'image')}", f"output={mask}") == 0
    assert str(run) not in (moved / "bundle.json").read_text()


def test_a_semantic_run_on_two_structures_works_with_the_same_commands(spheres, tmp_path, monkeypatch):
    options = [o for o in small_training(spheres, tmp_path / "run") if not o.startswith(("model.", "target="))]
    options += ["model=unet", "task=semantic", "model.widths=[8,16,16]", "train.steps=2", "target=[1]"]
    assert segfocal(monkeypatch, "train", *options) == 0
    scores = json.loads((tmp_path / "run" / "summary.json").read_text())["scores"]
    assert [score["prompt"] for score in scores] == ["none"]


@pytest.mark.parametrize(
    "option",
    [
        "task.rounds=3",
        "augment=none",
        "train.precision=bf16",
        "train.accumulate=2",
        "train.ema=0",
        "train.workers=2",
        "train.optimizer=sgd",
        "train.schedule=constant",
        "train.keep=best",
        "data.spacing_mm=null",
        "data.foreground=0",
    ],
)
def test_every_option_trains(option, spheres, tmp_path, monkeypatch):
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "train.steps=2", option)) == 0


def test_the_precision_that_auto_chose_is_on_record(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    options = small_training(spheres, tmp_path / "run", "train.steps=1", "train.precision=auto", "train.device=cpu")
    assert segfocal(monkeypatch, "train", *options) == 0
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["precision"] == "bf16"


@pytest.mark.slow
def test_a_multirun_names_its_directories_by_their_overrides(spheres, tmp_path, monkeypatch):
    options = [o for o in small_training(spheres, tmp_path / "run") if not o.startswith("hydra.run.dir")]
    fixed = [o.split("=")[0] for o in options]
    options += ["loss=focal,dice,focal+dice", "seed=0,1", "train.steps=1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    options += [f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*fixed, 'train.steps'])}]"]
    assert segfocal(monkeypatch, "train", "-m", *options) == 0
    names = {path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()} - {"comparison"}
    assert names == {f"loss={loss},seed={seed}" for loss in ("focal", "dice", "focal+dice") for seed in (0, 1)}
    assert all((tmp_path / "sweep" / name / "summary.json").is_file() for name in names)


def test_in_a_multirun_a_failing_run_does_not_stop_the_rest(spheres, tmp_path, monkeypatch, capsys):
    options = [o for o in small_training(spheres, tmp_path / "run") if not o.startswith(("hydra.run", "target"))]
    options += ["target=9,1", "train.steps=1", f"hydra.sweep.dir={tmp_path / 'sweep'}", "hydra.sweep.subdir=${target}"]
    assert segfocal(monkeypatch, "train", "-m", *options) == 1
    assert "label value 9" in capsys.readouterr().err
    assert (tmp_path / "sweep" / "1" / "summary.json").is_file()


@pytest.mark.parametrize("workers", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(spheres, tmp_path, monkeypatch, workers):
    settings = ["train.steps=4", "train.validate_every=2", f"train.workers={workers}"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "whole", *settings)) == 0

    save = checkpoint.save

    def save_and_stop(*arguments, **options):
        save(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(checkpoint, "save", save_and_stop)
        assert segfocal(interrupted, "train", *small_training(spheres, tmp_path / "cut", *settings)) == 130
    options = small_training(spheres, tmp_path / "cut", *settings, f"resume={tmp_path / 'cut'}")
    assert segfocal(monkeypatch, "train", *options) == 0
    whole, cut = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "cut")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]


def test_help_names_the_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["segfocal", "--help"])
    assert cli_main.main() == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in cli_main.COMMANDS)
