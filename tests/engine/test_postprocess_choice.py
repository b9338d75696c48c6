"""Post-processing chosen by validation: the shortcut's figures are those of the masks, and only what helps stays."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.data.cases import read_cases
from segfocal.engine import postprocess_choice as chosen
from segfocal.engine.postprocess_choice import FILLINGS, REMOVALS, best_rules, choose_rules, dice_of_each
from segfocal.grid import Grid, Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.postprocess import PostprocessRules, clean
from segfocal.inference.segment import segment
from segfocal.intensity import Window
from segfocal.io import volumes
from segfocal.metrics import count
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import AFFINES, make_scan, make_sphere_cases, sphere
from tests.system.commands import segfocal, small_training

STRUCTURES = (Structure(name="label_1", value=1),)


class Threshold(nn.Module):
    """A model that calls everything bright inside."""

    def forward(self, image):
        return 10 * (image - 0.5)


def bundle(**facts):
    return bundles.Bundle(
        model=Threshold(),
        model_config={},
        grid=ModelGrid(),
        window=(8, 8),
        intensity=Window(lower=0.0, upper=1.0),
        structures=STRUCTURES,
        training={},
        **facts,
    )


@pytest.fixture
def cases(tmp_path):
    """Two cases of a bright sphere with a hole, and a bright cube beside it that is not in the reference."""
    path = make_sphere_cases(tmp_path, 2, shape=(23, 19, 9))
    for name in ("c0", "c1"):
        inside = sphere((23, 19, 9), AFFINES["RAS"], radius_mm=5.0)
        image = inside.astype(np.float32)
        image[11, 9, 4] = 0
        image[1:3, 1:3, 1:3] = 1
        make_scan(tmp_path / "images" / f"{name}.nii.gz", image)
    return list(read_cases(path).cases)


def test_the_dice_of_a_rule_is_that_of_the_mask_it_leaves():
    generator = np.random.default_rng(0)
    rules = [PostprocessRules(), *chosen.REMOVALS, *chosen.FILLINGS]
    grid = Grid(shape=(14, 13, 12), affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    for share in (0.0, 0.02, 0.1, 0.3, 0.9):
        mask = Volume(array=(generator.random(grid.shape) < share).astype(np.uint8), grid=grid)
        labels = Volume(array=(generator.random(grid.shape) < 0.4).astype(np.uint8), grid=grid)
        expected = [count(clean(mask, {1: rule}).array, labels.array, 1).dice for rule in rules]
        assert dice_of_each(mask, labels, 1) == expected


def test_rules_that_raise_dice_are_kept_and_those_that_do_not_are_not(cases):
    rules, report = choose_rules(bundle(), cases, device=torch.device("cpu"))
    # the cube of 8 voxels of 3 mm³ goes with the mildest rule that takes it; the hole of 3 mm³ likewise
    assert rules == {"label_1": PostprocessRules(minimum_mm3=100.0, holes_mm3=100.0)}
    row = report[0]
    assert row["structure"] == "label_1"
    assert row["chosen"] == {"largest": False, "minimum_mm3": 100.0, "holes_mm3": 100.0, "minimum_share": 0.0}
    gains = {(t["largest"], t["minimum_mm3"], t["holes_mm3"]): t["dice"] - row["dice"] for t in row["tried"]}
    assert gains[False, 10.0, 0.0] == 0
    assert gains[False, 100.0, 0.0] == gains[True, 0.0, 0.0] > 0.01
    assert gains[False, 0.0, 100.0] > 0.0005
    assert gains[False, 10000.0, 0.0] < -0.5


def test_a_rule_that_one_case_alone_gains_by_is_not_kept():
    plain = 1 + len(REMOVALS) + len(FILLINGS)
    dice = np.full((3, plain), 0.6)
    dice[0, len(REMOVALS)] = 0.9  # the largest alone: one case gains, two lose a little
    dice[1:, len(REMOVALS)] = 0.59
    assert best_rules(dice) == PostprocessRules()
    dice[1, len(REMOVALS)] = 0.9  # two gain
    assert best_rules(dice) == PostprocessRules(largest=True)
    assert best_rules(dice[:1]) == PostprocessRules(largest=True)  # of one case its own gain is all there is


def test_segment_applies_the_rules_to_answers_of_the_kind_they_were_chosen_on(cases):
    scan, labels = volumes.read(cases[0].image), volumes.read_labels(cases[0].label)
    rules = {"label_1": PostprocessRules(largest=True, holes_mm3=100.0)}
    assert np.array_equal(segment(scan, bundle(postprocess=rules)).array, labels.array)
    assert not np.array_equal(segment(scan, bundle()).array, labels.array)
    assert bundle(postprocess=rules).rules(prompted=True) == {}
    needy = bundle(postprocess=rules, needs_prompts=True)
    assert needy.rules(prompted=False) == {}
    assert needy.rules(prompted=True) == {1: rules["label_1"]}


def test_rules_travel_in_the_bundle_and_older_bundles_have_none(run, tmp_path):
    loaded = bundles.load(run / "bundle")
    assert loaded.postprocess == {}
    rules = {"label_1": PostprocessRules(largest=True, minimum_mm3=5.0)}
    bundles.save(replace(loaded, postprocess=rules), tmp_path)
    assert bundles.load(tmp_path).postprocess == rules
    facts = json.loads((tmp_path / "bundle.json").read_text())
    facts["postprocess"] = {"kidney": {}}
    (tmp_path / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(bundles.UserError, match="kidney"):
        bundles.load(tmp_path)
    del facts["postprocess"]
    (tmp_path / "bundle.json").write_text(json.dumps(facts))
    assert bundles.load(tmp_path).postprocess == {}


def test_a_run_chooses_predict_applies_and_the_figures_agree(spheres, tmp_path, monkeypatch):
    monkeypatch.setattr(chosen, "LEAST_GAIN", -1.0)  # whatever was learnt in a few steps, something is chosen
    options = small_training(spheres, tmp_path / "run", "train.steps=4", "train.postprocess=auto")
    assert segfocal(monkeypatch, "train", *options) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    facts = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert facts["postprocess"] == {"label_1": summary["postprocess"][0]["chosen"]}
    image, label = spheres.parent / "images" / "held.nii.gz", spheres.parent / "labels" / "held.nii.gz"
    reports = {}
    for choice in ("auto", "none"):
        mask = tmp_path / f"{choice}.nii.gz"
        command = [f"bundle={tmp_path / 'run' / 'bundle'}", f"input={image}", f"output={mask}", f"postprocess={choice}"]
        assert segfocal(monkeypatch, "predict", *command) == 0
        reports[choice] = json.loads((tmp_path / f"{choice}.json").read_text())["postprocess"]
        dice = count(volumes.read_labels(mask).array, volumes.read_labels(label).array, 1).dice
        expected = summary["scores"][0]["dice"] if choice == "auto" else summary["postprocess"][0]["dice"]
        assert dice == expected
    assert reports == {"auto": facts["postprocess"], "none": {}}


def test_auto_without_held_out_cases_is_one_line(tmp_path, monkeypatch, capsys):
    data = make_sphere_cases(tmp_path, 1, splits=["train"])
    options = small_training(data, tmp_path / "run", "train.steps=1", "train.postprocess=auto", "data.hold_out=0")
    assert segfocal(monkeypatch, "train", *options) == 1
    assert "postprocess=auto" in capsys.readouterr().err


def test_predict_knows_two_words(run, tmp_path, monkeypatch, capsys):
    options = [f"bundle={run / 'bundle'}", "input=a.nii.gz", f"output={tmp_path / 'b.nii.gz'}", "postprocess=largest"]
    assert segfocal(monkeypatch, "predict", *options) == 1
    assert "postprocess=auto or postprocess=none" in capsys.readouterr().err
