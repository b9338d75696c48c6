"""Prompts on few slices, from the command line to a mask on disk, and LiteMedSAM on a real scan."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from segfocal.inference import bundle as bundles
from segfocal.intensity import Window
from segfocal.models import build
from segfocal.models.weights.published import cached_at
from segfocal.predict.options import OutputOptions, PredictOptions, PromptOptions
from segfocal.predict.predict import predict
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests import DEMO
from tests.scans import make_sphere_case
from tests.system.commands import segfocal

MODEL = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "heads": 6, "decoder_width": 32}
EASY = ["propagate.min_stability=0", "propagate.min_overlap=0", "propagate.max_area_change=1e9"]


@pytest.fixture
def small(tmp_path):
    """A bundle of random weights, a scan, and a file of prompts."""
    torch.manual_seed(0)
    bundle = bundles.Bundle(
        model=build(MODEL), model_config=MODEL, grid=ModelGrid(spacing_mm=(2.0, 2.0)), window=(32, 32),
        intensity=Window(lower=0, upper=100), structures=(Structure(name="ball", value=3),), training={},
        needs_prompts=True,
    )  # fmt: skip
    bundles.save(bundle, tmp_path / "bundle")
    image, _ = make_sphere_case(tmp_path)
    (tmp_path / "prompts.json").write_text(json.dumps([{"lower": [8, 5, 3], "upper": [15, 13, 3]}]))
    return tmp_path, image


def command(folder, image, *options):
    given = [f"bundle={folder / 'bundle'}", f"input={image}", f"output={folder / 'mask.nii.gz'}", "device=cpu"]
    return [*given, f"prompts={folder / 'prompts.json'}", f"session={folder / 'session'}", *options]


def test_predict_carries_prompts_and_asks_nothing_twice(small, monkeypatch, capfd):
    folder, image = small
    assert segfocal(monkeypatch, "predict", *command(folder, image, *EASY)) == 0
    assert "1 prompted" in capfd.readouterr().out
    first = nib.load(folder / "mask.nii.gz")
    report = json.loads((folder / "mask.json").read_text())
    assert report["prompts_from"] == str(folder / "prompts.json")
    assert report["slices"]["asked"] >= report["slices"]["answered"] >= 1
    before = np.asarray(first.dataobj)
    assert set(np.unique(before)) == {0, 3}
    assert segfocal(monkeypatch, "predict", *command(folder, image, *EASY, "overwrite=true")) == 0
    assert json.loads((folder / "mask.json").read_text())["slices"]["asked"] == 0
    assert np.array_equal(np.asarray(nib.load(folder / "mask.nii.gz").dataobj), before)


def test_without_a_session_nothing_is_kept(small, monkeypatch, capfd):
    folder, image = small
    assert segfocal(monkeypatch, "predict", *command(folder, image, "session=null")) == 0
    assert not (folder / "session").exists()


def test_mistakes_are_one_line_and_leave_nothing(small, monkeypatch, capfd):
    folder, image = small
    for options, says in (
        (["prompt=box", f"boxes={folder / 'prompts.json'}"], "prompts=FILE alone"),
        (["propagate.carry=lines"], "propagate.carry"),
        (["propagate.min_overlap=3"], "propagate.min_overlap"),
        ([f"prompts={folder / 'none.json'}"], "no such file"),
        ([f"output={folder / 'prompts.nii.gz'}", "overwrite=true"], "same file as input and output"),
    ):
        replaced = {option.split("=")[0] for option in options}
        given = [option for option in command(folder, image) if option.split("=")[0] not in replaced]
        assert segfocal(monkeypatch, "predict", *given, *options) == 1
        error = capfd.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert not (folder / "mask.nii.gz").exists()
    assert json.loads((folder / "prompts.json").read_text())


def box_on(target, z, name):
    i, j = np.nonzero(target[:, :, z])
    corners = {"lower": [int(i.min()), int(j.min()), z], "upper": [int(i.max()), int(j.max()), z]}
    return {"structure": name, **corners}


def corrections(folder, case, name, value, *, count, drawn):
    """Return Dice and slices asked and answered for a box on the largest slice, then after each correction.

    Each is of the slice with most wrong voxels that had none yet: a box, or a slice drawn (the reference's own mask).
    """
    label = DEMO / f"{case}_label.nii.gz"
    target = np.asarray(nib.load(label).dataobj) == value
    entries = [box_on(target, int(target.sum((0, 1)).argmax()), name)]
    prompts = PromptOptions(file=folder / "prompts.json", session=folder / "session")
    found = []
    while len(found) <= count:
        prompts.file.write_text(json.dumps(entries))
        options = PredictOptions(
            bundles=(folder / "bundle",),
            inputs=(DEMO / f"{case}_image.nii.gz",),
            outputs=OutputOptions(mask=folder / "mask.nii.gz", overwrite=True),
            prompts=prompts,
            device=torch.device("cpu"),
        )
        slices = predict(options)["slices"]["of"][name]
        mask = np.asarray(nib.load(folder / "mask.nii.gz").dataobj) == value
        dice = 2 * (mask & target).sum() / (mask.sum() + target.sum())
        found.append((float(dice), slices["asked"], slices["answered"]))
        wrong = (mask != target).sum((0, 1))
        wrong[[entry["slice"] if "slice" in entry else entry["lower"][2] for entry in entries]] = -1
        z = int(wrong.argmax())
        slice_drawn = {"structure": name, "mask": str(label), "value": value, "slice": z}
        absent = {"structure": name, "absent": True, "slice": z}
        there = target[:, :, z].any()
        entries.append(slice_drawn if drawn else box_on(target, z, name) if there else absent)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not cached_at("lite_medsam").is_file(), reason="no weights: run segfocal weights get lite_medsam")
@pytest.mark.parametrize(("case", "name", "at_least"), [("ct_b", "liver", 0.80), ("ct_b", "spleen", 0.75)])
def test_one_box_becomes_a_volume_and_three_corrections_raise_it(tmp_path, monkeypatch, case, name, at_least):
    values = {text: int(value) for value, text in json.loads((DEMO / "label_names.json").read_text())["ct"].items()}
    options = ["bundle", "lite_medsam", tmp_path / "bundle", "--structure", f"{name}:{values[name]}"]
    assert segfocal(monkeypatch, "weights", *options) == 0
    found = corrections(tmp_path, case, name, values[name], count=3, drawn=True)
    print(case, name, [(round(dice, 4), f"{asked} of {answered}") for dice, asked, answered in found])
    dice = [row[0] for row in found]
    assert dice[0] >= at_least
    assert dice == sorted(dice)
    assert dice[3] > dice[0]
    assert all(asked < answered for _, asked, answered in found[1:])
