"""One promptable model of several structures: trained, validated and used with a box for each of them."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.compare.runs import read_run
from tests.scans import affine_of, centre_mm, make_scan, sphere
from tests.system.commands import segfocal, small_training

SHAPE = (35, 31, 7)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A CSV of a training and a validation scan, each with a large bright sphere and a small dark one."""
    root = tmp_path_factory.mktemp("pairs")
    affine = affine_of(spacing_mm=(2.0, 2.0, 3.0))
    rows = ["name,image,label,split"]
    for seed, (name, split) in enumerate((("one", "train"), ("held", "val"))):
        middle = centre_mm(SHAPE, affine)
        bright = sphere(SHAPE, affine, radius_mm=10.0, centre=middle + np.array([14, 4, 0]))
        dark = sphere(SHAPE, affine, radius_mm=8.0, centre=middle - np.array([16, 8, 0]))
        noise = np.random.default_rng(seed).normal(0, 15, SHAPE)
        make_scan(root / f"{name}.nii.gz", (noise + 100 * bright - 80 * dark).astype(np.int16), affine)
        make_scan(root / f"{name}_label.nii.gz", (bright + 2 * dark).astype(np.uint8), affine)
        rows.append(f"{name},{name}.nii.gz,{name}_label.nii.gz,{split}")
    (root / "cases.csv").write_text("\n".join(rows) + "\n")
    return root / "cases.csv"


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    """The directory of a run on both structures."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = [o for o in small_training(pairs, folder) if not o.startswith("target=")]
    options += ["target=[1,2]", "task=interactive", "train.steps=10", "train.validate_every=5", "task.rounds=2"]
    options += ["train.ema=0", "train.lr=3e-3", "train.batch_size=2"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert segfocal(monkeypatch, "train", *options, "augment=none") == 0
    return folder


def test_it_is_validated_with_a_box_for_each_structure(trained):
    scores = json.loads((trained / "summary.json").read_text())["scores"]
    assert [(score["structure"], score["prompt"]) for score in scores] == [("label_1", "box"), ("label_2", "box")]
    assert max(score["dice"] for score in scores) > 0.1  # 0.97 after 150 steps
    rows = [row for row in csv.DictReader((trained / "metrics.csv").open()) if row["val_dice"]]
    assert [row["step"] for row in rows] == ["5", "10"]
    mean = (float(rows[-1]["val_dice_label_1"]) + float(rows[-1]["val_dice_label_2"])) / 2
    assert float(rows[-1]["val_dice"]) == pytest.approx(mean)
    assert (trained / "overlays" / "held.png").stat().st_size > 0


def test_comparisons_take_its_metrics_with_boxes(trained):
    result = read_run(trained)
    assert set(result.scores) == {("held", "label_1"), ("held", "label_2")}
    assert result.metrics["dice"] > 0


def predicted(monkeypatch, trained, pairs, folder, *options):
    image = pairs.parent / "held.nii.gz"
    mask = folder / "mask.nii.gz"
    code = segfocal(
        monkeypatch, "predict", f"bundle={trained / 'bundle'}", f"input={image}", f"output={mask}", *options
    )
    return code, np.asarray(nib.load(mask).dataobj) if mask.is_file() else None


def test_boxes_of_a_reference_give_the_mask_that_was_validated(trained, pairs, tmp_path, monkeypatch):
    label = pairs.parent / "held_label.nii.gz"
    code, mask = predicted(monkeypatch, trained, pairs, tmp_path, "prompt=box", f"prompts={label}")
    assert code == 0
    truth = np.asarray(nib.load(label).dataobj)
    for score in json.loads((trained / "summary.json").read_text())["scores"]:
        value = int(score["structure"][-1])
        assert np.count_nonzero((mask == value) & (truth == value)) == score["tp"]
        assert np.count_nonzero((mask == value) & (truth != value)) == score["fp"]


def test_a_box_in_a_file_says_which_structure_it_is_of(trained, pairs, tmp_path, monkeypatch, capfd):
    boxes = tmp_path / "boxes.json"
    box = {"lower": [18, 12, 2], "upper": [30, 24, 4]}
    boxes.write_text(json.dumps([box | {"structure": "label_1"}]))
    code, mask = predicted(monkeypatch, trained, pairs, tmp_path, "prompt=box", f"prompts={boxes}")
    assert code == 0
    assert set(np.unique(mask)) <= {0, 1}
    assert set(np.flatnonzero(mask.any((0, 1)))) <= {2, 3, 4}
    boxes.write_text(json.dumps([box]))
    code, _ = predicted(monkeypatch, trained, pairs, tmp_path, "prompt=box", f"prompts={boxes}", "overwrite=true")
    assert code == 1
    assert '"structure": label_1 or label_2' in capfd.readouterr().err


def test_without_a_prompt_it_says_what_it_needs(trained, pairs, tmp_path, monkeypatch, capfd):
    code, mask = predicted(monkeypatch, trained, pairs, tmp_path)
    assert code == 1
    assert mask is None
    assert "boxes of label_1, label_2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["task=promptable"], "task.first.none=0 with 2 targets"),
        (["task=semantic"], "model=unet"),
    ],
)
def test_what_cannot_tell_structures_apart_is_refused(options, words, pairs, tmp_path, monkeypatch, capfd):
    small = [o for o in small_training(pairs, tmp_path / "run") if not o.startswith("target=")]
    assert segfocal(monkeypatch, "train", *small, "target=[1,2]", *options) == 1
    assert words in capfd.readouterr().err
