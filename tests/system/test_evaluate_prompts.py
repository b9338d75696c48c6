"""`segfocal evaluate-prompts`: a bundle and the file of its weights score alike, and each mistake is one message."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from segfocal import models
from segfocal.cli.app import conf_folder
from segfocal.evaluate.prompts.protocol import Protocol
from segfocal.inference import bundle as bundles
from segfocal.intensity import Percentiles
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.pictures import make_sam_med2d
from tests.system.commands import SMALL, segfocal
from tests.system.test_bad_input import fails

MODEL = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "decoder_width": 32}
NEW = [option for option in SMALL if not option.startswith(("train.", "target="))]  # the same model, by options


def save(folder, config, **options):
    torch.manual_seed(0)
    bundle = bundles.Bundle(
        model=models.build(config),
        model_config=config,
        window=(32, 32),
        intensity=Percentiles(),
        structures=(Structure(name="label_1", value=1),),
        training={},
        **{"grid": ModelGrid(spacing_mm=(2.0, 2.0)), **options},
    )
    bundles.save(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save(tmp_path_factory.mktemp("bundle"), MODEL)


@pytest.fixture
def ask(monkeypatch, spheres, tmp_path):
    """Run the command on the spheres with options, into `out` below the test's folder unless they say otherwise."""

    def command(*options, folder="out"):
        places = [f"hydra.run.dir={tmp_path / folder}", f"cache={spheres.parent}/prompt_cache"]
        return segfocal(monkeypatch, "evaluate-prompts", "data=csv", f"data.root={spheres}", *places, *options)

    return command


def scores(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bundle_is_asked_on_the_held_out_cases(ask, bundle, tmp_path, capsys):
    assert ask(f"bundle={bundle}", "prompts=[none,box,1,3]") == 0
    shown = capsys.readouterr().out
    assert "label_1" in shown
    assert "3 clicks" in shown
    rows = scores(tmp_path / "out")
    assert {row["case"] for row in rows} == {"held"}
    assert {row["prompt"] for row in rows} == {"none", "box", "1", "3"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["bundle"] == str(bundle)
    assert summary["protocol"]["prompts"] == ["none", "box", 1, 3]
    assert (tmp_path / "out" / "clicks.png").is_file()
    # The same weights, from a file and with the options of the bundle, and other cases besides:
    weights = f"model.weights={bundle}/model.safetensors"
    options = [*NEW, "model=sam_tiny", weights, "target=1", "split=all", "prompts=[none,box,1,3]"]
    assert ask(*options, folder="weights") == 0
    every = scores(tmp_path / "weights")
    assert {row["case"] for row in every} == {"one", "two", "held"}
    assert [row for row in every if row["case"] == "held"] == rows
    assert json.loads((tmp_path / "weights" / "summary.json").read_text())["weights"]["sha256"]


def test_a_bundle_trained_with_prompts_only_is_not_asked_without(ask, tmp_path, capsys):
    folder = save(tmp_path / "bundle", MODEL, needs_prompts=True)
    assert ask(f"bundle={folder}", "prompts=[none,box]") == 0
    assert (
        "the prompt none was left out for label_1: the model was trained with prompts only" in capsys.readouterr().out
    )
    assert {row["prompt"] for row in scores(tmp_path / "out")} == {"box"}


def test_each_mask_of_sam_med2d_s_folders_is_asked_for_by_itself(monkeypatch, tmp_path):
    root = make_sam_med2d(tmp_path / "data", trained=(4,), judged=(16,))
    listed = {Path(mask).stem for mask in json.loads((root / "label2image_test.json").read_text())}
    options = [f"data.root={root}", f"hydra.run.dir={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"]
    config = {**MODEL, "image_size": 128}
    whole = save(tmp_path / "bundle", config, grid=ModelGrid())
    options += [f"bundle={whole}", "data=sam_med2d", "target=objects", "prompts=[box,1]"]
    assert segfocal(monkeypatch, "evaluate-prompts", *options) == 0
    rows = scores(tmp_path / "out")
    assert {(row["case"], row["structure"]) for row in rows} == {(name, "objects") for name in listed}


def test_what_cannot_be_asked_is_told(ask, bundle, tmp_path, capfd):
    own = f"bundle={bundle}"
    for options, words in (
        ([own, "split=test"], ["the split test", "cases.csv"]),
        ([own, "split=held"], ["split train, val, test or all"]),
        ([own, "prompts=[0]"], ["numbers of clicks ≥ 1"]),
        ([own, "batch_size=0"], ["batch_size to be a whole number ≥ 1"]),
        ([own, "data.spacing_mm=3"], ["data.spacing_mm=3", "bundle"]),
        ([own, "model=sam_tiny"], ["model=sam_tiny", "bundle"]),
        ([own, "target=9"], ["label value 9"]),
        ([f"bundle={tmp_path}/none"], ["a bundle"]),
        ([*NEW, "model=sam_tiny"], ["target=NAME"]),
        ([*NEW, "model=sam_tiny", "target=1"], ["model.weights=FILE", "random"]),
        (["model=unet", "target=1", "data.window=[32,32]"], ["promptable", "UNet"]),
        (["target=1", "data.window=[32,32]"], ["image_size 256"]),
    ):
        fails(capfd, ask(*options), *words)
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_a_bundle_of_another_kind_of_model_is_told(ask, tmp_path, capfd):
    unet = {"_target_": "segfocal.models.UNet", "widths": [4, 8, 8]}
    fails(capfd, ask(f"bundle={save(tmp_path / 'bundle', unet)}"), "promptable", "UNet")


def test_the_config_holds_the_protocol_s_defaults():
    config = OmegaConf.to_container(OmegaConf.load(conf_folder() / "evaluate_prompts.yaml"))
    assert Protocol(**{field.name: config[field.name] for field in fields(Protocol)}) == Protocol()
