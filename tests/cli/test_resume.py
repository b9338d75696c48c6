"""Whether a run directory may be used: gone on with, found finished, or left alone as another run's."""

import shutil

from tests.system.commands import segfocal, small_training


def test_a_finished_run_is_neither_repeated_nor_replaced_by_other_options(spheres, tmp_path, monkeypatch, capfd):
    settings = ["train.validate_every=0", "train.steps=2", "resume=auto"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *settings)) == 0
    summary = (tmp_path / "run" / "summary.json").read_text()
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # as people do to save space
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *settings)) == 0
    assert "finished before" in capfd.readouterr().out
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *settings, "loss=dice")) == 1
    assert "the options of the run to resume" in capfd.readouterr().err
    refused = ["overwrite=true", "resume=null", "train.precision=fp16"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *settings, *refused)) == 1
    assert (tmp_path / "run" / "summary.json").read_text() == summary
