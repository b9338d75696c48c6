"""Export: what leaves is what the model says, its description is enough to use it, and all or nothing is written."""

import hashlib
import importlib.util
import json
import re
import shutil
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from torch import nn

from segfocal.errors import UserError
from segfocal.export import export as exporting
from segfocal.export.export import ExportOptions, export
from segfocal.export.facts import facts, ports
from segfocal.files import write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.postprocess import PostprocessRules
from segfocal.inference.segment import segment
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.io import volumes
from segfocal.metrics import count
from segfocal.models import ALLOWED, build, portable
from segfocal.models.onnx_network import OnnxNetwork, OnnxPromptable
from segfocal.prompts import Prompt
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests import ROOT
from tests.scans import affine_of, make_scan, sphere
from tests.system.commands import segfocal

PAGE = (ROOT / "docs" / "export.md").read_text()
STRUCTURES = (Structure(name="bright", value=4), Structure(name="dark", value=2))
BRIGHT = {"_target_": "tests.Bright"}
UNET = {"_target_": "segfocal.models.UNet", "channels": 1, "classes": 2, "widths": [8, 8, 16]}
SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "decoder_width": 32}


class Bright(nn.Module):
    """What is brighter or darker than a threshold, a little more so to the right of the window: blending shows."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.smooth = nn.Conv2d(1, 1, 5, padding=2)
        nn.init.constant_(self.smooth.weight, 1 / 25)
        nn.init.zeros_(self.smooth.bias)
        self.register_buffer("right", torch.linspace(-0.05, 0.05, 32))

    def forward(self, image):
        seen = self.smooth(image) + self.right
        return 20 * torch.cat([seen - 0.5, 0.3 - seen], dim=1)


@pytest.fixture(scope="module", autouse=True)
def _allowed():
    ALLOWED["tests.Bright"] = Bright
    yield
    del ALLOWED["tests.Bright"]


def make_bundle(folder, config=BRIGHT, **options):
    """Save a bundle of a model as it is built."""
    torch.manual_seed(0)
    model = build(config).eval()
    count = getattr(model, "classes", 1)
    common = {
        "model": model, "model_config": config, "grid": ModelGrid(spacing_mm=(2.0, 2.0)), "window": (32, 32),
        "intensity": Window(lower=-50.0, upper=150.0), "structures": STRUCTURES[:count], "training": {},
    }  # fmt: skip
    bundles.save(bundles.Bundle(**(common | options)), folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a scan (oblique, anisotropic, smaller and larger than a window), a bundle, and its export."""
    folder = tmp_path_factory.mktemp("export")
    affine = affine_of(spacing_mm=(0.9, 1.3, 3.5), axes="LPS", degrees=(9.0, -6.0, 14.0))
    generator = np.random.default_rng(0)
    inside = sphere((85, 45, 7), affine, radius_mm=14.0)
    make_scan(folder / "scan.nii.gz", (generator.normal(0, 15, inside.shape) + 100 * inside).astype(np.int16), affine)
    make_bundle(folder / "bundle")
    options = ExportOptions(bundle=folder / "bundle", output=folder / "onnx", scan=folder / "scan.nii.gz")
    export(options)
    return folder


def options_of(place, output, **options):
    return ExportOptions(**({"bundle": place / "bundle", "output": output, "scan": place / "scan.nii.gz"} | options))


def program():
    """Import the program of docs/export.md."""
    text = re.search(r"^`run_model.py`\n\n```python\n(.*?)```", PAGE, flags=re.S | re.M).group(1)
    module = type(sys)("run_model")
    exec(compile(text, "run_model.py", "exec"), module.__dict__)
    return module


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


VARIANTS = {
    "as exported": {},
    "own pixels": {"grid": ModelGrid(frame="LAI")},
    "one size": {"grid": ModelGrid(size=(48, 30))},
    "finer pixels": {"grid": ModelGrid(frame="ASR", spacing_mm=(1.0, 0.7))},
    "percentiles": {"intensity": Percentiles(low=2.0, high=98.0)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_program_of_the_page_follows_model_json_to_the_same_mask(place, tmp_path, variant):
    bundle = replace(bundles.load(place / "bundle"), **VARIANTS[variant])
    shutil.copy(place / "onnx" / "model.onnx", tmp_path)
    session = OnnxNetwork(tmp_path / "model.onnx").session
    told = facts(bundle, overlap=0.5, folder=tmp_path, networks={"model.onnx": ports(session)})
    write_json(tmp_path / "model.json", told)
    with torch.no_grad():
        ours = segment(volumes.read(place / "scan.nii.gz"), bundle).array
    theirs = program().segment(tmp_path, nib.load(place / "scan.nii.gz"))
    for structure in STRUCTURES:
        # float64 against float32 turns a voxel here and there whose logits are nearly equal
        assert count(theirs, ours, structure.value).dice > 0.998


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


def test_a_missing_package_is_one_line_that_names_the_extra(place, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(portable, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError, match=r"package onnxscript .* pip install 'segfocal\[export\]'"):
        export(options_of(place, tmp_path / "out"))


def test_rules_are_told_and_left_to_the_program(place, tmp_path):
    bundle = replace(bundles.load(place / "bundle"), postprocess={"dark": PostprocessRules(largest=True)})
    told = facts(bundle, overlap=0.25, folder=place / "onnx", networks={})
    assert told["postprocess"] == {"dark": {"largest": True, "minimum_mm3": 0.0, "holes_mm3": 0.0}}
    assert told["overlap"] == 0.25


def parsed(folder, scan, output):
    """Parse a MONAI bundle's config as MONAI does."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser["bundle_root"], parser["output_dir"], parser["datalist"] = str(folder), str(output), [str(scan)]
    parser.parse()
    return parser


@pytest.mark.parametrize("intensity", [Window(lower=-50.0, upper=150.0), Percentiles()], ids=["window", "percentiles"])
def test_monai_runs_its_bundle_to_our_mask(place, tmp_path, intensity):
    source = make_bundle(tmp_path / "bundle", intensity=intensity)
    report = export(options_of(place, tmp_path / "monai", bundle=source, format="monai_bundle"))
    assert report["logit_difference"] < 1e-3
    parser = parsed(tmp_path / "monai", place / "scan.nii.gz", tmp_path / "eval")
    sample = next(iter(parser.get_parsed_content("dataset")))
    network, inferer = (parser.get_parsed_content(name) for name in ("network", "inferer"))
    with torch.no_grad():
        sample["pred"] = inferer(sample["image"][None], network)[0]
    parser.get_parsed_content("postprocessing")(sample)
    written = nib.load(tmp_path / "eval" / "scan_seg.nii.gz")
    scan = nib.load(place / "scan.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.allclose(written.affine, scan.affine, atol=1e-3)
    theirs, bundle = np.asarray(written.dataobj), bundles.load(source)
    with torch.no_grad():
        ours = segment(volumes.read(place / "scan.nii.gz"), bundle).array
    for k, structure in enumerate(bundle.structures, start=1):
        # another low-pass filter and another floor of the window weights
        assert count((theirs == k).astype(int), (ours == structure.value).astype(int), 1).dice > 0.97


@pytest.mark.parametrize(
    ("config", "names"), [(BRIGHT, ["bright", "dark"]), (SAM, ["bright"])], ids=["two", "sam_tiny"]
)
def test_the_network_of_a_monai_bundle_is_as_its_metadata_says(place, tmp_path, config, names):
    source = make_bundle(tmp_path / "bundle", config)
    export(options_of(place, tmp_path / "monai", bundle=source, format="monai_bundle"))
    configs = tmp_path / "monai" / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        bundle_root=str(tmp_path / "monai"),
        device="cpu",
    )
    told = json.loads((configs / "metadata.json").read_text())
    channels = told["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(channels.values()) == ["background", *names]
    network = torch.jit.load(tmp_path / "monai" / "models" / "model.ts")
    assert "Device = prim" not in str(network.inlined_graph)  # nothing in it asks for the CPU it was made on
    assert {"models/model.ts", "docs/README.md", "LICENSE", "parity.json"} <= {
        str(path.relative_to(tmp_path / "monai")) for path in (tmp_path / "monai").rglob("*")
    }


def test_a_model_that_needs_prompts_is_no_monai_bundle(place, tmp_path):
    source = make_bundle(tmp_path / "bundle", SAM, needs_prompts=True)
    with pytest.raises(UserError, match="format=onnx"):
        export(options_of(place, tmp_path / "out", bundle=source, format="monai_bundle"))


def test_openvino_writes_its_files_too(place, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(exporting, "write_network", lambda m, path, w: shutil.copy(place / "onnx" / "model.onnx", path))
    export(options_of(place, tmp_path / "out", format="openvino"))
    assert {"model.xml", "model.bin"} <= {path.name for path in (tmp_path / "out").iterdir()}


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
@pytest.mark.parametrize("config", [UNET, SAM], ids=["unet", "sam_tiny"])
@pytest.mark.parametrize("chosen", ["onnx", "monai_bundle"])
def test_the_models_are_exported(config, chosen, place, tmp_path):
    source = make_bundle(tmp_path / "bundle", config)
    report = export(options_of(place, tmp_path / "out", bundle=source, format=chosen))
    assert report["logit_difference"] < 1e-3
    assert min(report["dice"].values()) >= 0.999
    assert report["asked"] == "no prompt"


@pytest.mark.slow
def test_a_model_that_needs_prompts_is_exported_in_two_halves(place, tmp_path):
    source = make_bundle(tmp_path / "bundle", SAM, needs_prompts=True)
    report = export(options_of(place, tmp_path / "out", bundle=source))
    assert report["logit_difference"] < 1e-3
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [entry["name"] for entry in told["networks"]["decoder.onnx"]["inputs"][-5:]] == list(portable.PROMPT)
    model = bundles.load(source).model
    halves = OnnxPromptable(tmp_path / "out" / "encoder.onnx", tmp_path / "out" / "decoder.onnx", image_size=32)
    for images, prompts, clicks in ((1, 1, 0), (1, 3, 1), (2, 2, 2), (2, 4, 1)):
        generator = torch.Generator().manual_seed(prompts)
        embedding = model.encode(torch.rand(images, 1, 32, 32, generator=generator))
        prompt = Prompt.none(prompts, device=torch.device("cpu"))
        for _ in range(clicks):
            prompt = prompt.with_clicks(32 * torch.rand(prompts, 2, generator=generator), torch.ones(prompts).long())
        first = model.answer(embedding, prompt)
        boxed = prompt.with_boxes(torch.tensor([[4.0, 6.0, 20.0, 30.0]] * prompts))
        for asked in (prompt, boxed, boxed.with_mask(first.low_res_logits.detach())):
            with torch.no_grad():
                pairs = zip(halves.answer(embedding, asked), model.answer(embedding, asked), strict=True)
            for theirs, ours in pairs:
                torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_torch_follows_a_decoder_that_hides_absent_prompts(tmp_path):
    model = build(SAM).eval()
    model.prompt_encoder.hides_absent = True  # as SAM's own families
    portable.write_halves(model, tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
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


@pytest.mark.parametrize("given", [{"neighbours": 1, "window": (32, 32)}, {"channels": 3}])
def test_more_than_a_slice_of_one_channel_is_no_monai_bundle(place, tmp_path, given):
    make_bundle(tmp_path / "bundle", UNET | {"channels": 3}, **given)
    with pytest.raises(UserError, match=r"single slices of one channel.*format=onnx"):
        export(
            ExportOptions(
                bundle=tmp_path / "bundle", output=tmp_path / "out", scan=place / "scan.nii.gz", format="monai_bundle"
            )
        )
    assert not (tmp_path / "out").exists()
