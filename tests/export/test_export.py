"""Export: what leaves is what the model says, and all or nothing is written."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
from contextlib import suppress

import pytest
import torch

from segfocal.errors import UserError
from segfocal.export import export as exporting
from segfocal.export.export import ExportOptions, export
from segfocal.export.halves import PROMPT, write_halves
from segfocal.export.onnx_network import OnnxNetwork, OnnxPromptable
from segfocal.files import claims_recorded
from segfocal.inference import bundle as bundles
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.models import build, portable
from segfocal.prompts import Prompt
from tests.export.bundles import PROMPT_UNET, SAM, STROKES, UNET, make_bundle, options_of
from tests.system.commands import segfocal


def test_an_export_is_three_files_that_fit_together(place):
    assert {path.name for path in (place / "onnx").iterdir()} == {"model.onnx", "model.json", "parity.json"}
    told = json.loads((place / "onnx" / "model.json").read_text())
    network = told["networks"]["model.onnx"]
    assert network["inputs"] == [{"name": "image", "shape": ["b", 1, 32, 32], "type": "float"}]
    assert network["outputs"] == [{"name": "logits", "shape": ["b", 2, 32, 32], "type": "float"}]
    assert network["sha256"] == hashlib.sha256((place / "onnx" / "model.onnx").read_bytes()).hexdigest()
    assert told["structures"][1] == {"channel": 1, "name": "dark", "value": 2}
    parity = json.loads((place / "onnx" / "parity.json").read_text())
    assert parity["logit_difference"] < 1e-3
    assert min(parity["dice"].values()) >= 0.999
    assert min(parity["voxels"].values()) > 100  # the masks that agree are not empty


@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_network_gives_the_models_logits_for_any_batch(place, batch):
    model = bundles.load(place / "bundle").model
    image = torch.rand(batch, 1, 32, 32, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        torch.testing.assert_close(OnnxNetwork(place / "onnx" / "model.onnx")(image), model(image), rtol=0, atol=1e-4)


def test_nothing_is_written_when_the_network_is_too_far_off(place, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    other = make_bundle(tmp_path / "other", UNET)
    with pytest.raises(UserError, match=r"logits within 0.25 .*nothing was written"):
        export(options_of(place, tmp_path / "out", bundle=other, tolerance=0.25))
    assert {path.name for path in tmp_path.iterdir()} == {"other"}


def test_an_earlier_export_is_replaced_only_when_asked(place, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.json").write_text("of another program")
    with pytest.raises(UserError, match="overwrite=true"):
        export(options_of(place, tmp_path))
    assert (tmp_path / "model.json").read_text() == "of another program"
    (tmp_path / "model.json").unlink()
    for overwrite in (False, True):
        export(options_of(place, tmp_path, overwrite=overwrite))
        with pytest.raises(UserError, match="overwrite=true"):
            export(options_of(place, tmp_path))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("beside", [False, True])
def test_an_export_cut_at_any_rename_is_whole_or_gone_on_with(beside, moment, place, tmp_path, monkeypatch):
    """Into a new folder it comes at once; beside files of the user's the files that it is read by come last."""
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    out, calls, real = tmp_path / "out", [], os.replace
    if beside:
        out.mkdir()
        (out / "notes.txt").write_text("mine")

    def replace(*places):
        calls.append(places)
        if len(calls) == moment + 1:
            raise KeyboardInterrupt
        real(*places)

    whole = {"model.onnx", "model.json", "parity.json"}
    with monkeypatch.context() as patched, suppress(KeyboardInterrupt), claims_recorded():
        patched.setattr(os, "replace", replace)
        export(options_of(place, out))
    names = {path.name for path in out.iterdir()} & whole if out.is_dir() else set()
    assert names in (set(), whole) or (beside and "parity.json" not in names)
    with claims_recorded():
        export(options_of(place, out, overwrite=names == whole and len(calls) <= moment))
    assert {path.name for path in out.iterdir()} == whole | ({"notes.txt"} if beside else set())


def test_an_export_over_another_leaves_no_mixture_that_can_be_read(place, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    export(options_of(place, tmp_path))
    real = os.replace

    def replace(source, target):
        if target == tmp_path / "model.json":
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            export(options_of(place, tmp_path, overwrite=True))
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx"}


def test_a_missing_package_is_one_line_that_names_the_extra(place, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(portable, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError, match=r"package onnxscript .* pip install 'segfocal\[export\]'"):
        export(options_of(place, tmp_path / "out"))


def test_a_model_of_volumes_is_exported_as_one_of_slices_is(volume_place):
    told = json.loads((volume_place / "onnx" / "model.json").read_text())
    network = told["networks"]["model.onnx"]
    assert network["inputs"] == [{"name": "image", "shape": ["b", 1, 8, 24, 24], "type": "float"}]
    assert network["outputs"] == [{"name": "logits", "shape": ["b", 2, 8, 24, 24], "type": "float"}]
    assert told["spacing_mm"] == [2.5, 1.5, 1.7]
    assert "3-D windows" in told["windows"]["seen"]
    assert "all three axes" in told["resampling"]["logits"]
    parity = json.loads((volume_place / "onnx" / "parity.json").read_text())
    assert parity["logit_difference"] < 1e-3
    assert min(parity["dice"].values()) >= 0.999
    assert min(parity["voxels"].values()) > 100


def test_a_monai_bundle_of_a_model_of_volumes_is_refused(volume_place, tmp_path):
    with pytest.raises(UserError, match=r"windows of 8×24×24 .* Set format=onnx"):
        export(options_of(volume_place, tmp_path / "out", format="monai_bundle"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["place", "volume_place"])
def test_openvino_writes_its_files_too_and_they_are_compared(kind, request, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    place, run = request.getfixturevalue(kind), []
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    real = exporting.OpenVinoNetwork
    monkeypatch.setattr(exporting, "OpenVinoNetwork", lambda xml: run.append(xml.name) or real(xml))
    report = export(options_of(place, tmp_path / "out", format="openvino"))
    assert {"model.xml", "model.bin"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert run == ["model.xml"]
    assert 0 < report["logit_difference"] < 1e-3
    assert min(report["dice"].values()) >= 0.999


def test_an_openvino_network_too_far_off_is_refused_though_onnx_agrees(place, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "check_packages", lambda *names: None)
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    monkeypatch.setattr(exporting, "write_openvino", lambda path: path)
    own = bundles.load(place / "bundle").model

    class Off(torch.nn.Module):
        def forward(self, image):
            return own(image) + 0.01

    monkeypatch.setattr(exporting, "OpenVinoNetwork", lambda path: Off())
    with pytest.raises(UserError, match=r"logits within 0\.001 .*found 0\.01 "):
        export(options_of(place, tmp_path / "out", format="openvino"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_how_close_it_came(place, tmp_path, monkeypatch, capsys):
    options = [f"bundle={place / 'bundle'}", f"output={tmp_path / 'out'}", f"scan={place / 'scan.nii.gz'}"]
    assert segfocal(monkeypatch, "export", *options, "format=monai_bundle") == 0
    assert re.search(r"on scan.nii.gz logits within \d\.\de[-+]\d\d of torch, Dice", capsys.readouterr().out)
    assert segfocal(monkeypatch, "export", *options, "format=tensorrt") == 1
    assert "format of onnx, openvino, monai_bundle" in capsys.readouterr().err
    monkeypatch.setattr("segfocal.cli.export.demo_data", lambda: str(tmp_path))
    assert segfocal(monkeypatch, "export", *options[:2]) == 1
    assert "Add scan=FILE.nii.gz" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("config", [UNET, SAM, PROMPT_UNET], ids=["unet", "sam_tiny", "prompt_unet"])
@pytest.mark.parametrize("chosen", ["onnx", "monai_bundle"])
def test_the_models_are_exported(config, chosen, place, tmp_path):
    source = make_bundle(tmp_path / "bundle", config)
    report = export(options_of(place, tmp_path / "out", bundle=source, format=chosen))
    assert report["logit_difference"] < 1e-3
    assert min(report["dice"].values()) >= 0.999
    assert report["asked"] == "no prompt"


@pytest.mark.slow
@pytest.mark.parametrize("config", [SAM, PROMPT_UNET, STROKES], ids=["sam_tiny", "prompt_unet", "strokes"])
def test_a_model_that_needs_prompts_is_exported_in_two_halves(config, place, tmp_path):
    source = make_bundle(tmp_path / "bundle", config, needs_prompts=True)
    report = export(options_of(place, tmp_path / "out", bundle=source))
    assert report["logit_difference"] < 1e-3
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    model = bundles.load(source).model
    expected = [*PROMPT, *model.strokes]
    assert [entry["name"] for entry in told["networks"]["decoder.onnx"]["inputs"][-len(expected) :]] == expected
    halves = OnnxPromptable(tmp_path / "out" / "encoder.onnx", tmp_path / "out" / "decoder.onnx", image_size=32)
    for images, prompts, clicks in ((1, 1, 0), (1, 3, 1), (2, 2, 2), (2, 4, 1)):
        generator = torch.Generator().manual_seed(prompts)
        embedding = model.encode(torch.rand(images, 1, 32, 32, generator=generator))
        prompt = Prompt.none(prompts, device=torch.device("cpu"))
        for _ in range(clicks):
            prompt = prompt.with_clicks(32 * torch.rand(prompts, 2, generator=generator), torch.ones(prompts).long())
        first = model.answer(embedding, prompt)
        boxed = prompt.with_boxes(torch.tensor([[4.0, 6.0, 20.0, 30.0]] * prompts))
        drawn = (torch.rand(prompts, 2, 32, 32, generator=generator) > 0.9).float()
        stroked = prompt.with_scribbles(drawn).with_lassos(drawn.flip(1))
        for asked in (prompt, boxed, stroked, boxed.with_mask(first.low_res_logits.detach())):
            with torch.no_grad():
                pairs = zip(halves.answer(embedding, asked), model.answer(embedding, asked), strict=True)
            for theirs, ours in pairs:
                torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_torch_follows_a_decoder_that_hides_absent_prompts(tmp_path):
    model = build(SAM).eval()
    model.prompt_encoder.hides_absent = True  # as SAM's own families
    write_halves(model, tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
    halves = OnnxPromptable(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", image_size=32)
    prompt = Prompt.none(1, device=torch.device("cpu")).with_clicks(torch.full((1, 2), 9.0), torch.ones(1).long())
    with torch.no_grad():
        embedding = model.encode(torch.rand(1, 1, 32, 32))
        theirs, ours = halves.answer(embedding, prompt).logits, model.answer(embedding, prompt).logits
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_neighbours_and_channels_are_exported_as_the_model_sees_them(place, tmp_path):
    config = UNET | {"channels": 6}
    two = PerChannel(each=(Window(lower=-50.0, upper=150.0), Percentiles()))
    make_bundle(tmp_path / "bundle", config, channels=2, neighbours=1, intensity=two)
    scans = {"scan": place / "scan.nii.gz", "more": (place / "scan.nii.gz",)}
    report = export(ExportOptions(bundle=tmp_path / "bundle", output=tmp_path / "onnx", **scans))
    assert report["logit_difference"] < 1e-3
    written = json.loads((tmp_path / "onnx" / "model.json").read_text())
    assert (written["channels"], written["neighbours"]) == (2, 1)
    assert [own["kind"] for own in written["intensity"]] == ["window", "percentiles"]
    assert written["networks"]["model.onnx"]["inputs"][0]["shape"] == ["b", 6, 32, 32]


def test_a_scan_of_other_channels_to_compare_on_is_told(place, tmp_path):
    make_bundle(tmp_path / "bundle", UNET | {"channels": 2}, channels=2)
    with pytest.raises(UserError, match=r"2 channels.*found 1 for the comparison.*scan="):
        export(ExportOptions(bundle=tmp_path / "bundle", output=tmp_path / "out", scan=place / "scan.nii.gz"))
