"""The picture of augmented samples, and the recipes of docs/augment.md."""

import re

import numpy as np
import pytest
from PIL import Image

from tests import ROOT
from tests.system.commands import SMALL, segfocal

PAGE = (ROOT / "docs" / "augment.md").read_text()
SHOWN = [word for word in SMALL if not word.startswith(("model.", "train."))]


def show(monkeypatch, data, folder, *options, before=()):
    options = ["data=csv", f"data.root={data}", f"cache={folder}/prepared", *SHOWN, *options]
    return segfocal(monkeypatch, "show-augment", *before, *options)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_picture_shows_the_samples_and_their_targets(spheres, tmp_path, monkeypatch, capsys):
    path = tmp_path / "augmented.png"
    assert show(monkeypatch, spheres, tmp_path, f"output={path}", "data.foreground=1", "samples=4") == 0
    assert str(path) in capsys.readouterr().out
    drawn = pixels(path)
    green = (drawn[..., 1] > 180) & (drawn[..., 0] < 100)
    assert green.mean() > 0.002  # outlines


def test_the_same_step_gives_the_same_picture_and_another_gives_another(spheres, tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.png" for name in ("first", "again", "other")]
    for path, step in zip(paths, (3, 3, 4), strict=True):
        options = ["samples=2", "columns=1", f"step={step}", f"output={path}"]
        assert show(monkeypatch, spheres, tmp_path, *options) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("samples=0", "samples to be a whole number ≥ 1"),
        ("output=picture.jpg", "output to be a .png file"),
        ("augment.window_jitter=0.7", "augment.window_jitter < 0.5"),
        ("augment.flip=[x]", "axes of d, h and w"),
    ],
)
def test_a_wrong_option_is_one_line(option, message, spheres, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert show(monkeypatch, spheres, tmp_path, option) == 1
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("*.png"))


def test_an_existing_picture_is_kept_unless_asked(spheres, tmp_path, monkeypatch, capfd):
    (tmp_path / "a.png").write_text("mine")
    assert show(monkeypatch, spheres, tmp_path, f"output={tmp_path / 'a.png'}") == 1
    assert "overwrite=true" in capfd.readouterr().err
    assert (tmp_path / "a.png").read_text() == "mine"


@pytest.mark.parametrize("recipe", re.findall(r"^`my_conf/augment/(\w+)\.yaml`", PAGE, flags=re.M))
def test_a_recipe_of_the_page_augments_as_it_stands(recipe, spheres, tmp_path, monkeypatch):
    pytest.importorskip("monai")
    for name, text in re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)```", PAGE, flags=re.S | re.M):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # as the page has it
    path = tmp_path / "recipe.png"
    before = ["--config-dir", tmp_path / "my_conf"]
    assert show(monkeypatch, spheres, tmp_path, f"augment={recipe}", f"output={path}", "samples=2", before=before) == 0
    assert path.is_file()
