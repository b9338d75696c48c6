"""Every loss trains from the command line, and what it takes from the training set reaches it."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from segfocal.cli.app import conf_folder
from segfocal.inference import bundle as bundles
from tests.scans import affine_of, make_scan
from tests.system.commands import segfocal, small_training

CHOICES = sorted(path.stem for path in (conf_folder() / "loss").glob("*.yaml") if path.stem != "sum")
QUICK = ["train.steps=3", "train.validate_every=0", "data.hold_out=0", "augment=none"]


@pytest.fixture(scope="module")
def shells(tmp_path_factory):
    """Two scans of a sphere (2) inside a shell (1): structures that touch and exclude each other."""
    root = tmp_path_factory.mktemp("shells")
    axes = np.meshgrid(*[np.arange(n) - n / 2 for n in (32, 32, 8)], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    labels = np.select([radius < 6, radius < 10], [2, 1], 0).astype(np.uint8)
    affine, rng = affine_of(spacing_mm=(2.0, 2.0, 2.0)), np.random.default_rng(0)
    rows = ["image,label,split"]
    for split in ("train", "val"):
        image = labels * 100.0 + rng.normal(0, 5, labels.shape)
        make_scan(root / f"{split}_image.nii.gz", image, affine, dtype=np.float32)
        make_scan(root / f"{split}_label.nii.gz", labels, affine, dtype=np.uint8)
        rows.append(f"{split}_image.nii.gz,{split}_label.nii.gz,{split}")
    (root / "cases.csv").write_text("\n".join(rows) + "\n")
    return root / "cases.csv"


def rows_of(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def semantic(data, folder, *options):
    kept = [option for option in small_training(data, folder) if not option.startswith(("model.", "target="))]
    return [*kept, "model=unet", "task=semantic", "model.widths=[8,16,16]", *options]


def prompted_unet(data, folder, *options):
    kept = [option for option in small_training(data, folder) if not option.startswith(("model.", "target="))]
    return [*kept, "model=prompt_unet", "model.widths=[16,16,24]", *options]


QUICK_ONES = {"focal+dice", "sam_med2d", "softmax_focal+dice"}  # the rest is run in CI


@pytest.mark.pictures
@pytest.mark.parametrize("choice", [c if c in QUICK_ONES else pytest.param(c, marks=pytest.mark.slow) for c in CHOICES])
def test_every_loss_trains_ten_steps(choice, spheres, tmp_path, monkeypatch):
    options = [f"loss={choice}", "train.steps=10", "train.validate_every=0", "augment=none"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 10
    assert np.isfinite([float(row["loss"]) for row in rows]).all()
    assert (tmp_path / "run" / "loss_anatomy.png").stat().st_size > 1000


def test_softmax_learns_structures_that_exclude_each_other(shells, tmp_path, monkeypatch):
    options = ["loss=softmax_focal+dice", "target=[1,2]", "train.steps=60", "train.ema=0", "augment=none"]
    options += ["train.validate_every=0", "train.lr=3e-3"]
    assert segfocal(monkeypatch, "train", *semantic(shells, tmp_path / "run", *options)) == 0
    scores = json.loads((tmp_path / "run" / "summary.json").read_text())["scores"]
    assert {score["structure"]: score["dice"] > 0.9 for score in scores} == {"label_1": True, "label_2": True}
    assert bundles.load(tmp_path / "run" / "bundle").link == "softmax"


def test_inverse_frequency_comes_from_the_training_set(shells, tmp_path, monkeypatch):
    options = ["loss=softmax_focal", "loss.terms.softmax_focal.alpha=inverse_frequency", "target=[1,2]", *QUICK]
    assert segfocal(monkeypatch, "train", *semantic(shells, tmp_path / "run", *options)) == 0
    rates = json.loads((tmp_path / "run" / "summary.json").read_text())["pixel_rates"]
    assert sum(rates.values()) == pytest.approx(1)
    assert rates["background"] > rates["label_1"] > rates["label_2"] > 0.01


def test_scheduled_values_are_in_the_record(spheres, tmp_path, monkeypatch):
    options = [
        "loss.terms.focal.gamma={linear:{0:0,0.5:2}}",
        "loss.weights.dice={steps:{0:0,0.6:1}}",
        "train.steps=5",
        "train.validate_every=0",
    ]
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *options)) == 0
    rows = rows_of(tmp_path / "run")
    assert [float(row["focal.gamma"]) for row in rows] == pytest.approx([0, 0.8, 1.6, 2, 2])
    assert [float(row["weights.dice"]) for row in rows] == [0, 0, 0, 1, 1]
    for row in rows[:3]:  # Dice has no weight yet
        assert float(row["loss"]) == pytest.approx(5 * float(row["focal"]), rel=1e-5)
    assert 0 < float(rows[-1]["focal_modulating"]) < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["loss.terms.focal.gamma={cosine:{0:0}}"], "linear"),
        (["loss.terms.focal.gamma={linear:{0:0,2:1}}"], "ascending shares of training in [0,1]"),
        (["loss.terms.focal.gamma={linear:{0:0,1:-1}}"], "gamma ≥ 0"),
        (["loss.terms.focal.alpha=[0.2,0.3]"], "one alpha for each of 1 classes; got 2"),
        (["loss.terms.dice.link=softmax"], "one link"),
        (["model.prior=2"], "model.prior in (0,1)"),
        (["loss=softmax_focal", "loss.terms.softmax_focal.alpha=[1,2,3]"], "each of 2 classes"),
        (["loss.terms.dice.empty=maybe"], "smooth, include or skip"),
    ],
)
def test_options_of_a_loss_that_do_not_fit_are_one_clear_line(options, words, spheres, tmp_path, monkeypatch, capfd):
    assert segfocal(monkeypatch, "train", *small_training(spheres, tmp_path / "run", *QUICK, *options)) == 1
    error = capfd.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert words in error


@pytest.mark.parametrize("model", ["sam_tiny", "unet", "prompt_unet"])
@pytest.mark.parametrize("prior", ["auto", "0.01"])
def test_the_first_predictions_lie_around_the_prior(model, prior, spheres, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("segfocal.engine.train.train_loop", lambda run, *_: seen.append(run) or False)
    make = {"sam_tiny": small_training, "unet": semantic, "prompt_unet": prompted_unet}[model]
    options = [f"model.prior={prior}", "target=1", *QUICK]
    assert segfocal(monkeypatch, "train", *make(spheres, tmp_path / "run", *options)) == 0
    rate = json.loads((tmp_path / "run" / "summary.json").read_text())["pixel_rates"]["label_1"]
    with torch.no_grad():
        logits = bundles.load(tmp_path / "run" / "bundle").model(torch.rand(4, 1, 32, 32))
    expected = rate if prior == "auto" else 0.01
    assert logits.mean().item() == pytest.approx(math.log(expected / (1 - expected)), abs=0.7)
    assert logits.std() < 1.5
