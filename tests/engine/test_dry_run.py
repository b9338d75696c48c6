"""A dry run says what a run would take."""

from tests.system.commands import segfocal, small_training


def test_a_dry_run_says_what_a_run_would_take_and_leaves_nothing(spheres, tmp_path, monkeypatch, capfd):
    options = small_training(spheres, tmp_path / "run", "train.dry_run=true", "train.steps=1000")
    assert segfocal(monkeypatch, "train", *options) == 0
    shown = capfd.readouterr().out
    assert "1000 steps, their validations and the last one: about" in shown
    assert "GiB on cpu" in shown
    assert not list((tmp_path / "run").glob("*.json*"))


def test_a_dry_run_of_a_single_step_says_what_it_took(spheres, tmp_path, monkeypatch, capfd):
    options = small_training(spheres, tmp_path / "run", "train.dry_run=true", "train.steps=1")
    assert segfocal(monkeypatch, "train", *options) == 0
    assert "1 steps" in capfd.readouterr().out
