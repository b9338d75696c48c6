"""Folds trained by workers: bundle and metrics are those of one process, and a fold that fails stops no other."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from segfocal.cli.app import conf_folder
from segfocal.cli.cluster_folds import FoldTrainer, train_folds
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError
from tests.scans import make_sphere_cases
from tests.system.commands import small_training

UNET = ["model=unet", "task=semantic", "model.widths=[8,16,16]", "train.steps=20", "train.lr=0.01", "augment=light"]
WORKERS = ["cluster=ray", "cluster.actors=2"]


def cross_validated(data, folder, *more):
    """Cross-validate a small U-Net in a process of one thread, as each worker has; return the process."""
    small = [option for option in small_training(data, folder) if not option.startswith(("model.", "hydra."))]
    options = [*small, f"output={folder}", "train.validate_every=0", "data.folds=4", *UNET, *more]
    command = [sys.executable, conf_folder().parent / "scripts" / "cross_validate.py", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=900)


def left_in(folder):
    """Return masks, metrics and configs by file, with the folder's own name taken out."""
    files = [*folder.glob("predictions/*.nii.gz"), *folder.glob("fold_*/config.yaml")]
    files += [folder / "evaluation" / "metrics.csv", folder / "summary.json", folder / "splits.json"]
    own = str(folder.parent).encode()
    return {str(file.relative_to(folder)): file.read_bytes().replace(own, b"X") for file in files}


def weights_in(folder):
    """Return the tensors of each member by name; a file may have them in any order."""
    files = sorted(folder.glob("bundle/*/model.safetensors"))
    return {f"{file.parent.name} {name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_four_folds_on_two_workers_are_those_of_one_process(tmp_path):
    data = make_sphere_cases(tmp_path / "data", 4)
    for name, more in (("serial", []), ("workers", WORKERS)):
        (tmp_path / name).mkdir()
        made = cross_validated(data, tmp_path / name / "cv", *more)
        assert made.returncode == 0, made.stderr
    assert made.stdout.count("trained in") == 4
    serial, workers = (left_in(tmp_path / name / "cv") for name in ("serial", "workers"))
    assert len(serial) == 4 + 4 + 3
    assert [name for name in serial if workers[name] != serial[name]] == []
    tensors, same = (weights_in(tmp_path / name / "cv") for name in ("serial", "workers"))
    assert len({name.split()[0] for name in tensors}) == 4
    assert tensors.keys() == same.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], same[name])] == []


def test_a_fold_that_fails_stops_no_other_and_is_named(tmp_path, monkeypatch):
    trained = []

    def broken(config):
        if config == 1:
            raise UserError(expected="a GPU", found="none", do="add one")
        return config

    monkeypatch.setattr("segfocal.cli.cluster_folds.build_plan", broken)
    monkeypatch.setattr("segfocal.cli.cluster_folds.train_in", lambda plan, request: trained.append(request.folder))
    trainer = FoldTrainer(configs=(0, 1, 2), output=tmp_path, folder=tmp_path)
    with pytest.raises(UserError, match="found 1 that failed, fold 1: expected a GPU") as told:
        train_folds(trainer, ClusterSettings())
    assert trained == [tmp_path / "fold_0", tmp_path / "fold_2"]
    assert "\n" not in str(told.value)
    assert json.dumps(str(told.value))
