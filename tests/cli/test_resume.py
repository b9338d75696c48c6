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


def test_the_config_of_a_run_to_resume_is_data(spheres, tmp_path, monkeypatch, capfd):
    (tmp_path / "marker_of_a_run.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # not even what a module of the user's defines
    (tmp_path / "run").mkdir()
    text = "loss: {_target_: marker_of_a_run.touch}\nimports: [marker_of_a_run]\nseed: ${oc.env:HOME}\n"
    (tmp_path / "run" / "config.yaml").write_text(
        f"{text}hydra: {{callbacks: {{x: {{_target_: marker_of_a_run.touch}}}}}}\n"
    )
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", "resume=auto")) == 1
    said = capfd.readouterr().err
    assert "the options of the run to resume" in said
    assert "Traceback" not in said
    assert not (tmp_path / "ran").exists()
