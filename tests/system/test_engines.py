"""predict by an engine: torch's mask, converted once, and in one line what is missing or was changed."""

import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.models.engines import engine_choice
from segfocal.structure import Structure
from tests.random_bundle import image, make_bundle
from tests.scans import AFFINES, make_scan, make_sphere_case
from tests.system.commands import segfocal

SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 16, "width": 48, "depth": 1, "decoder_width": 32}
EASY = ["propagate.min_stability=0", "propagate.min_overlap=0", "propagate.max_area_change=1e9"]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_choice, "_is_slower", lambda *_: False)  # a busy machine's clock decides nothing here


@pytest.fixture
def scan(tmp_path):
    return make_scan(tmp_path / "ct.nii.gz", image(3), next(iter(AFFINES.values())))


def predicted(monkeypatch, bundle, scan, name, *options):
    output = scan.with_name(f"{name}.nii.gz")
    given = [f"bundle={bundle}", f"input={scan}", f"output={output}", "device=cpu", *options]
    code = segfocal(monkeypatch, "predict", *given)
    if code:
        return None, None
    return np.asanyarray(nib.load(output).dataobj), json.loads(output.with_name(f"{name}.json").read_text())["engine"]


@pytest.mark.skipif(not engine_choice.find_spec("openvino"), reason="openvino is not installed")
@pytest.mark.parametrize("config", [None, SAM], ids=["ensemble", "sam_tiny"])
def test_openvino_gives_torchs_mask_and_converts_once(config, scan, tmp_path, monkeypatch, capfd):
    if config:
        folders = [make_bundle(tmp_path / "a", config=config, structures=(Structure(name="liver", value=5),))]
    else:
        folders = [make_bundle(tmp_path / "a", 0), make_bundle(tmp_path / "b", 1)]
    named = "[" + ",".join(map(str, folders)) + "]"
    torchs, engine = predicted(monkeypatch, named, scan, "torch", "engine=torch")
    assert engine == "torch"
    ours, engine = predicted(monkeypatch, named, scan, "ours")
    assert engine.startswith("openvino 20")
    assert np.array_equal(ours, torchs)
    assert ours.any()
    monkeypatch.setattr(engine_choice.OpenVino, "convert", lambda *_: pytest.fail("converted again"))
    again, _ = predicted(monkeypatch, named, scan, "again", "engine=openvino")
    assert np.array_equal(again, torchs)
    assert capfd.readouterr().err == ""


def test_an_engine_that_is_not_installed_is_one_line(random_bundle, scan, monkeypatch, capfd):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    assert predicted(monkeypatch, random_bundle, scan, "mask", "engine=openvino") == (None, None)
    told = capfd.readouterr().err
    assert "run pip install 'segfocal[cpu]'" in told.replace("Run", "run")
    assert len(told.strip().splitlines()) == 1
    mask, engine = predicted(monkeypatch, random_bundle, scan, "mask")
    assert engine == "torch"
    assert mask.any()
    assert capfd.readouterr().err == ""


def test_an_unknown_engine_is_one_line(random_bundle, scan, monkeypatch, capfd):
    assert predicted(monkeypatch, random_bundle, scan, "mask", "engine=tensorrt") == (None, None)
    told = capfd.readouterr().err
    assert "auto, torch, openvino or onnxruntime" in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.skipif(not engine_choice.find_spec("openvino"), reason="openvino is not installed")
@pytest.mark.parametrize("how", [["prompt=box"], EASY], ids=["boxes", "propagated"])
def test_openvino_answers_prompts_as_torch_does(how, tmp_path, monkeypatch):
    config, structures = SAM | {"image_size": 32}, (Structure(name="ball", value=3),)
    bundle = make_bundle(tmp_path / "b", config=config, structures=structures, window=(32, 32), needs_prompts=True)
    scan, _ = make_sphere_case(tmp_path)
    (tmp_path / "prompts.json").write_text(json.dumps([{"lower": [8, 5, 3], "upper": [15, 13, 4]}]))
    masks = []
    for engine in ("torch", "openvino"):
        given = [f"prompts={tmp_path / 'prompts.json'}", f"session={tmp_path / engine}", f"engine={engine}", *how]
        mask, ran = predicted(monkeypatch, bundle, scan, engine, *given)
        assert ran.startswith(engine)
        masks.append(mask)
    assert np.array_equal(*masks)
    assert masks[0].any()


@pytest.mark.skipif(not engine_choice.find_spec("openvino"), reason="openvino is not installed")
def test_an_evaluation_of_prompts_by_openvino_has_torchs_scores(spheres, tmp_path, monkeypatch):
    config = SAM | {"image_size": 32}
    bundle = make_bundle(tmp_path / "b", config=config, structures=(Structure(name="1", value=1),), window=(32, 32))
    scores = []
    for engine in ("torch", "auto"):
        given = [f"bundle={bundle}", "data=csv", f"data.root={spheres}", "prompts=[none,box,1,2]", f"engine={engine}"]
        places = [f"hydra.run.dir={tmp_path / engine}", f"cache={tmp_path / 'prepared'}", "device=cpu"]
        assert segfocal(monkeypatch, "evaluate-prompts", *given, *places) == 0
        scores.append((tmp_path / engine / "scores.csv").read_text())
    assert scores[0] == scores[1]
    assert len(list((bundle / "engines").iterdir())) == 2  # encoder and decoder
