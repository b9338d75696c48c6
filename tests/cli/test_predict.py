"""The options of `segfocal predict` become one checked record; older spellings are read, with a note."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from segfocal.cli.predict import predict_options
from segfocal.errors import UserError
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.predict.options import OutputOptions, PredictOptions, PromptKind, PromptOptions
from tests.cli.test_configs import composed
from tests.random_bundle import make_bundle
from tests.scans import make_sphere_case
from tests.system.commands import segfocal

MODEL = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "heads": 6}


def options(*overrides):
    given = ["bundle=b", "input=ct.nii.gz", "output=m.nii.gz", "device=cpu", *overrides]
    return predict_options(OmegaConf.to_container(composed("predict", *given), resolve=True))


def test_the_defaults_of_the_command_are_those_of_the_record():
    assert options() == PredictOptions(
        bundles=(Path("b"),),
        inputs=(Path("ct.nii.gz"),),
        outputs=OutputOptions(mask=Path("m.nii.gz")),
        device=torch.device("cpu"),
    )


def test_each_option_has_its_place_in_the_record():
    found = options("bundle=[a,b]", "input=[t1.nii,t2.nii]", "separate=true", "overlap=0.25", "flips=[h]")
    assert found.bundles == (Path("a"), Path("b"))
    assert found.inputs == (Path("t1.nii"), Path("t2.nii"))
    assert found.scan == Path("t1.nii")
    assert found.outputs == OutputOptions(mask=Path("m.nii.gz"), separate=True)
    assert found.sliding == SlidingOptions(overlap=0.25, flips=("h",))


@pytest.mark.parametrize(
    ("overrides", "file", "kind"),
    [
        (["prompts=p.json"], "p.json", PromptKind.PROPAGATED),
        (["prompts=p.json", "prompt=box"], "p.json", PromptKind.BOXES),
        (["prompts=l.nii.gz", "prompt=box"], "l.nii.gz", PromptKind.LABEL_BOXES),
        (["boxes=b.txt", "prompt=box"], "b.txt", PromptKind.BOXES),
        (["reference=l.nii.gz", "prompt=box"], "l.nii.gz", PromptKind.LABEL_BOXES),
    ],
)
def test_every_spelling_of_prompts_is_one_record(overrides, file, kind):
    assert options(*overrides).prompts == PromptOptions(file=Path(file), kind=kind, session=Path("runs/prompted"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["prompt=box"], "prompts=FILE.json, boxes, or prompts=LABEL.nii.gz"),
        (["boxes=b.json"], "expected prompt=box with boxes; found prompt=none"),
        (["reference=l.nii.gz"], "expected prompt=box with reference; found prompt=none"),
        (["prompt=box", "boxes=b.json", "reference=l.nii.gz"], "found boxes and reference"),
        (["prompt=box", "prompts=p.json", "boxes=b.json"], "found prompts and boxes"),
        (["prompts=p.json", "reference=l.nii.gz"], "found prompts and reference"),
        (["propagate.min_overlap=3"], "propagate.min_overlap from 0 to 1"),
        (["overlap=1"], "overlap in"),
        (["bundle=[]"], "a path, or a list of paths, for bundle"),
    ],
)
def test_options_that_contradict_each_other_are_refused(overrides, says):
    with pytest.raises(UserError) as caught:
        options(*overrides)
    assert says in str(caught.value)


def test_older_spellings_give_the_same_mask_and_a_note(tmp_path, monkeypatch, capfd):
    bundle = make_bundle(tmp_path / "bundle", config=MODEL, window=(32, 32), needs_prompts=True)
    scan, label = make_sphere_case(tmp_path)
    (tmp_path / "boxes.json").write_text(json.dumps([{"structure": "liver", "lower": [4, 5, 1], "upper": [15, 13, 3]}]))
    given = [f"bundle={bundle}", f"input={scan}", "device=cpu", "prompt=box"]
    for key, file in (("boxes", tmp_path / "boxes.json"), ("reference", label)):
        masks = []
        for spelling in (key, "prompts"):
            out = tmp_path / f"{key}_{spelling}.nii.gz"
            assert segfocal(monkeypatch, "predict", *given, f"{spelling}={file}", f"output={out}") == 0
            note = f"note: {key}={file} is now prompts={file}, with prompt=box as before\n"
            assert capfd.readouterr().err == (note if spelling == key else "")
            masks.append(np.asarray(nib.load(out).dataobj))
            assert json.loads(out.with_name(f"{key}_{spelling}.json").read_text())["prompt"] == "box"
        assert np.array_equal(*masks)


@pytest.mark.parametrize("option", ["input=s3://bucket/scans", "output=gs://bucket/masks", "bundle=[a,s3://bucket/b]"])
def test_an_address_of_an_object_store_is_one_line(option):
    with pytest.raises(UserError, match=f"expected a path for {option.split('=')[0]}; found the address"):
        options(option)


@pytest.mark.parametrize("more", [["device=cuda"], ["device=cpu", "cluster.gpus=1"]])
def test_a_device_that_workers_have_not_is_one_line(more, monkeypatch, capsys):
    given = ["bundle=b", "input=scans", "output=masks", "cluster=ray", *more]
    assert segfocal(monkeypatch, "predict", *given) == 1
    assert f"found {more[0]} and cluster.gpus={more[1][-1] if more[1:] else 0}" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "named"), [(["cluster=ray"], "cluster=ray"), (["part=1/2"], "part=1/2")])
def test_one_scan_is_neither_parted_nor_given_to_workers(more, named, monkeypatch, capsys):
    given = ["bundle=b", "input=ct.nii.gz", "output=m.nii.gz", *more]
    assert segfocal(monkeypatch, "predict", *given) == 1
    assert f"expected many scans for {named}" in capsys.readouterr().err
