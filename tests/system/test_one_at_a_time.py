"""Two commands at once in one folder: the second is refused in one line, and goes through when the first was killed."""

import numpy as np
import pytest

from tests.holder import holding
from tests.random_bundle import image
from tests.scans import AFFINES, make_scan
from tests.system.commands import segfocal, small_training

AFFINE = next(iter(AFFINES.values()))


@pytest.mark.parametrize("more", [[], ["resume=auto"], ["overwrite=true"]])
def test_a_second_training_in_a_run_directory(spheres, tmp_path, monkeypatch, capfd, more):
    options = small_training(spheres, tmp_path / "run", "train.steps=1", "train.validate_every=0", *more)
    with holding(tmp_path / "run"):
        assert segfocal(monkeypatch, "train", *options) == 1
        assert "another segfocal process at work" in capfd.readouterr().err
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert segfocal(monkeypatch, "train", *options) == 0


def test_a_second_prediction_of_many_scans_into_a_folder(random_bundle, tmp_path, monkeypatch, capfd):
    make_scan(tmp_path / "scans" / "ct.nii.gz", image(0), AFFINE)
    command = ["predict", f"bundle={random_bundle}", f"input={tmp_path}/scans", f"output={tmp_path}/masks"]
    with holding(tmp_path / "masks"):
        assert segfocal(monkeypatch, *command) == 1
        assert "another segfocal process at work" in capfd.readouterr().err
        assert not (tmp_path / "masks" / "manifest.jsonl").exists()
    assert segfocal(monkeypatch, *command) == 0


def test_a_second_evaluation_into_a_folder(tmp_path, monkeypatch, capfd):
    for name in ("a", "b"):
        make_scan(tmp_path / f"{name}.nii.gz", (image(0) > 100).astype(np.uint8), AFFINE)
    command = ["evaluate", f"prediction={tmp_path}/a.nii.gz", f"reference={tmp_path}/b.nii.gz", f"output={tmp_path}/e"]
    with holding(tmp_path / "e"):
        assert segfocal(monkeypatch, *command) == 1
        assert "another segfocal process at work" in capfd.readouterr().err
        assert not (tmp_path / "e" / "metrics.json").exists()
    assert segfocal(monkeypatch, *command) == 0
