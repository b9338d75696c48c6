"""Weight files: what a model takes from them, what is said about the rest, and that nothing in them runs."""

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from segfocal import models
from segfocal.errors import UserError
from segfocal.models import load_weights
from segfocal.models.sam.architecture import Architecture, build_sam
from segfocal.models.sam.sam_options import SamOptions
from segfocal.models.weights import identity_of, read, salvage
from segfocal.models.weights.loading import resized
from segfocal.models.weights.matching import match

SMALL = Architecture(
    width=32, depth=2, heads=2, global_blocks=(1,), window=3, decoder_width=16, decoder_mlp=32, mask_channels=4,
    iou_width=16,
)  # fmt: skip
POSITIONS = {
    "image_encoder.pos_embed",
    "image_encoder.blocks.1.attn.rel_pos_h",
    "image_encoder.blocks.1.attn.rel_pos_w",
}


def small(image_size=32, **options):
    return build_sam(SMALL, SamOptions(image_size=image_size, **options))


@pytest.fixture(scope="module")
def stock():
    """The state of a small stock SAM of 64×64 pixels, all of it random."""
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(t.shape, generator=generator) for name, t in small(64).state_dict().items()}


@pytest.fixture
def stock_file(stock, tmp_path):
    torch.save(stock, tmp_path / "stock.pth")
    return tmp_path / "stock.pth"


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options)


def refusal(call, *arguments, **options):
    """Return the one line with which a call refuses."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_tensor_of_a_file_of_the_same_model_is_taken_over(stock, stock_file):
    model = small(64)
    report = load_weights(model, stock_file)
    assert all(torch.equal(tensor, stock[name]) for name, tensor in model.state_dict().items())
    assert report.loaded == len(stock)
    assert str(report).count("\n") == 0


def test_a_file_of_larger_images_is_taken_with_exactly_its_positions_resized(stock, stock_file):
    model = small(32)
    report = load_weights(model, stock_file)
    assert {change.name for change in report.match.resized} == POSITIONS
    assert not report.match.missing + report.match.unexpected + report.match.mismatched + report.match.added
    for name, tensor in model.state_dict().items():
        if name not in POSITIONS:
            assert torch.equal(tensor, stock[name]), name
    assert "3 position tensors" in str(report)
    assert "64×64" in str(report)


@torch.no_grad()
def test_relative_positions_are_resized_as_the_encoder_itself_does_it(stock):
    """On 2×2 tokens a global block interpolates the 2·4 − 1 relative positions that it learnt on 4×4."""
    from segfocal.models.sam import upstream

    def encoder(tokens):
        return upstream.ImageEncoderViT(
            img_size=16 * tokens, embed_dim=32, depth=2, num_heads=2, out_chans=16, use_rel_pos=True,
            window_size=3, global_attn_indexes=(1,),
        )  # fmt: skip

    state = {name.split(".", 1)[1]: t for name, t in stock.items() if name.startswith("image_encoder.")}
    of_two, of_four = encoder(2), encoder(4)
    of_four.load_state_dict(state)
    of_two.load_state_dict(
        {name: resized(state[name], t.shape) if t.shape != state[name].shape else state[name]
         for name, t in of_two.state_dict().items()}
    )  # fmt: skip
    of_four.pos_embed = of_two.pos_embed
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(of_four(image), of_two(image), rtol=1e-4, atol=1e-4)  # order of float32 sums


def test_resizing_keeps_what_is_linear():
    ramp = torch.arange(16.0)
    grid = torch.stack([ramp[:, None].expand(16, 16), ramp[None].expand(16, 16)], dim=-1)[None]
    small_grid = resized(grid, (1, 4, 4, 2))
    centres = torch.tensor([1.5, 5.5, 9.5, 13.5])
    torch.testing.assert_close(small_grid[0, :, 0, 0], centres)
    torch.testing.assert_close(small_grid[0, 0, :, 1], centres)
    assert resized(torch.arange(31.0)[:, None], (7, 1))[3].item() == pytest.approx(15)  # distance zero


@pytest.mark.parametrize(
    ("name", "blocks"), [("sam_vit_b", (2, 5, 8, 11)), ("sam_vit_l", (5, 11, 17, 23)), ("sam_vit_h", (7, 15, 23, 31))]
)
def test_sam_at_1024_fits_256_but_for_its_positions(name, blocks):
    build = models.ALLOWED[f"segfocal.models.{name}"]
    large, small = (shapes(on_meta(build, image_size=size)) for size in (1024, 256))
    found = match(small, large)
    relative = {f"image_encoder.blocks.{i}.attn.rel_pos_{axis}" for i in blocks for axis in "hw"}
    assert {change.name for change in found.resized} == relative | {"image_encoder.pos_embed"}
    assert not found.missing + found.unexpected + found.mismatched + found.added
    assert "ViT-" + name[-1].upper() in str(identity_of(large))
    assert "1024×1024" in str(identity_of(large))


@pytest.mark.parametrize("adapter", ["sam_med2d", "bottleneck", "lora"])
def test_adapters_that_a_stock_file_lacks_are_new_and_nothing_else(adapter):
    plain, adapted = (shapes(on_meta(models.sam_vit_b, adapter=kind)) for kind in ("none", adapter))
    found = match(adapted, plain)
    assert set(found.added) == set(adapted) - set(plain)
    assert not found.missing + found.unexpected + found.mismatched + found.resized
    assert identity_of(adapted).architecture == identity_of(plain).architecture == "ViT-B"
    assert identity_of(adapted).name != identity_of(plain).name


def test_new_adapters_are_reported_and_stay_as_they_began(stock_file):
    model = small(64, adapter="sam_med2d")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".Adapter." in name}
    report = load_weights(model, stock_file)
    assert set(report.match.added) == set(before)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert "new, to be trained: 12 tensors" in str(report)


def test_a_file_with_some_adapters_must_have_all(tmp_path):
    state = small(adapter="sam_med2d").state_dict()
    del state["image_encoder.blocks.1.Adapter.norm.bias"]
    torch.save(state, tmp_path / "part.pth")
    assert "1 tensor (image_encoder.blocks.*.Adapter.norm.bias) missing" in refusal(
        load_weights, small(adapter="sam_med2d"), tmp_path / "part.pth"
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"model.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": state, "optimizer": torch.optim.AdamW(nn.Linear(2, 2).parameters()).state_dict()},
    ],
)
def test_what_training_programs_put_around_the_weights_is_taken_off(wrap, stock, tmp_path):
    torch.save(wrap(stock), tmp_path / "wrapped.pt")
    assert load_weights(small(64), tmp_path / "wrapped.pt").loaded == len(stock)


def test_the_format_is_told_by_content_not_by_name(stock, tmp_path):
    save_file(stock, tmp_path / "a.pth")
    torch.save(stock, tmp_path / "b.safetensors")
    torch.save(stock, tmp_path / "c", _use_new_zipfile_serialization=False)
    for name in ("a.pth", "b.safetensors", "c"):
        assert load_weights(small(64), tmp_path / name).loaded == len(stock)


def test_half_precision_files_fill_a_full_precision_model(stock, tmp_path):
    torch.save({name: tensor.half() for name, tensor in stock.items()}, tmp_path / "half.pth")
    model = small(32)
    load_weights(model, tmp_path / "half.pth")
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_bundle_is_taken_by_its_folder_or_its_file_and_a_run_says_where_its_bundle_is(tmp_path):
    model = models.sam_tiny(image_size=32, width=48, decoder_width=32)
    folder = tmp_path / "run" / "bundle"
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    for path in (folder, folder / "model.safetensors"):
        assert (
            "sam_tiny, 32×32" in load_weights(models.sam_tiny(image_size=32, width=48, decoder_width=32), path).family
        )
    assert f"Give {folder}" in refusal(read, folder.parent)


def test_tensors_that_safetensors_stores_once_are_not_missing(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = self.first

    from safetensors.torch import save_model

    save_model(Tied(), tmp_path / "tied.safetensors")
    assert not load_weights(Tied(), tmp_path / "tied.safetensors").match.missing


def test_differences_are_refused_until_allowed_and_a_refusal_changes_nothing(stock, tmp_path):
    state = {name: tensor for name, tensor in stock.items() if "iou_prediction_head" not in name}
    state["prompt_encoder.mask_downscaling.0.weight"] = torch.ones(2, 1, 2, 2)
    state["head.weight"] = torch.ones(3)
    torch.save(state, path := tmp_path / "other.pth")
    model = small(64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    line = refusal(load_weights, model, path)
    assert "6 tensors (mask_decoder.iou_prediction_head.layers.*.weight ×3, " in line
    assert "head.weight) unknown to the model" in line
    assert "prompt_encoder.mask_downscaling.0.weight (2×1×2×2, the model's 1×1×2×2)" in line
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    allow = line[line.index("weights.allow=[") :].removeprefix("weights.allow=[").split("]")[0]
    report = load_weights(model, path, allow=allow.split(","))
    assert len(report.match.missing) == 6
    assert report.match.unexpected == ("head.weight",)
    assert [change.name for change in report.match.mismatched] == ["prompt_encoder.mask_downscaling.0.weight"]
    assert str(report).count("allowed:") == 3
    assert torch.equal(model.state_dict()["mask_decoder.iou_token.weight"], stock["mask_decoder.iou_token.weight"])


def test_resizing_can_be_switched_off(stock_file):
    line = refusal(load_weights, small(32), stock_file, resize=False)
    assert "64×64 pixels, and resizing is switched off" in line
    assert "32×32" in line


def test_the_report_is_json_and_names_the_file_by_its_hash(stock_file):
    import hashlib

    row = json.loads(json.dumps(load_weights(small(32), stock_file).row()))
    assert row["sha256"] == hashlib.sha256(stock_file.read_bytes()).hexdigest()
    assert {change["name"] for change in row["resized"]} == POSITIONS


def write_pickled_optimizer(path, stock):
    layer = nn.Linear(2, 2)
    torch.save({"model": stock, "optimizer": torch.optim.Adam(layer.parameters())}, path)


def write_cut(path, stock):
    torch.save(stock, path)
    path.write_bytes(path.read_bytes()[:20_000])


def write_cut_safetensors(path, stock):
    save_file(stock, path)
    path.write_bytes(path.read_bytes()[:-100])


def write_cut_old(path, stock):
    torch.save(stock, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:20_000])


def write_program(path, stock):
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def write_archive(path, stock):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "weights")


def write_infinite(path, stock):
    torch.save({**stock, "mask_decoder.iou_token.weight": torch.full((1, 16), torch.inf)}, path)


BAD = {
    "pickled optimizer": (write_pickled_optimizer, "segfocal weights convert"),
    "truncated": (write_cut, "cut short"),
    "truncated safetensors": (write_cut_safetensors, "cut short"),
    "truncated, old format": (write_cut_old, "cut short"),
    "of nothing": (lambda path, stock: path.touch(), "an empty file"),
    "web page": (lambda path, stock: path.write_text("\n<!DOCTYPE html><html>"), "a web page"),
    "pointer": (lambda path, stock: path.write_text("version https://git-lfs\noid sha256:0"), "Git LFS pointer"),
    "directory": (lambda path, stock: path.mkdir(), "a folder without model.safetensors"),
    "missing": (lambda path, stock: None, "no such file"),
    "TorchScript": (write_program, "a TorchScript program"),
    "other zip": (write_archive, "another kind of zip"),
    "text": (lambda path, stock: path.write_text("weights"), "begins with"),
    "plain pickle": (lambda path, stock: path.write_bytes(pickle.dumps([1, 2])), "torch did not write"),
    "numbers only": (lambda path, stock: torch.save({"epoch": 3}, path), "no tensors by name"),
    "another architecture": (
        lambda path, stock: save_file(models.sam_tiny(image_size=32, width=48, decoder_width=32).state_dict(), path),
        "found sam_tiny",
    ),
    "foreign": (lambda path, stock: torch.save(nn.Linear(2, 2).state_dict(), path), "no model known here"),
    "not finite": (
        lambda path, stock: torch.save(
            {**stock, "mask_decoder.iou_token.weight": torch.full((1, 16), torch.nan)}, path
        ),
        "NaN or infinity in mask_decoder.iou_token.weight",
    ),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:.*torch.jit")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_clear_line_that_names_it(kind, stock, tmp_path):
    write, words = BAD[kind]
    write(tmp_path / "weights.pth", stock)
    line = refusal(load_weights, small(64), tmp_path / "weights.pth")
    assert words in line
    assert str(tmp_path / "weights.pth") in line


class Attack:
    """Creates a file when it is unpickled in the ordinary way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run_when_its_tensors_are_taken_out(stock, tmp_path):
    torch.save({"model": stock, "args": Attack(tmp_path / "owned")}, path := tmp_path / "attack.pth")
    assert "Python objects" in refusal(read, path)
    taken = salvage(path)
    assert not (tmp_path / "owned").exists()
    assert any(name.endswith(("touch", "getattr")) for name in taken.ignored)
    assert set(taken.file.tensors) == set(stock)
    assert all(torch.equal(tensor, stock[name]) for name, tensor in taken.file.tensors.items())
    torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists()  # the attack is real


def test_all_kinds_of_tensors_are_taken_out_as_torch_reads_them(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    state = {
        "view": whole[1:3, ::2],
        "transposed": whole.T,
        "parameter": nn.Parameter(torch.ones(2)),
        "bfloat16": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "half": torch.tensor([1.5]).half(),
        "long": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
    }
    torch.save({"model": state, "optimizer": torch.optim.SGD([torch.ones(1)])}, tmp_path / "kinds.pth")
    taken = salvage(tmp_path / "kinds.pth").file.tensors
    for name, tensor in state.items():
        assert taken[name].dtype == tensor.dtype
        assert torch.equal(taken[name], tensor), name


def rewritten(source, target, change):
    """Copy a torch archive with its pickle changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)


def out_of_bounds(data):
    """Return a pickle of one tensor that reaches past its storage of four numbers."""
    assert b"K\x04\x85" in data
    return data.replace(b"K\x04\x85", b"K\x64\x85", 1)


@pytest.mark.parametrize(
    "change",
    [
        out_of_bounds,
        lambda data: data[: len(data) // 2],
        lambda data: b"\x80\x02" + b"(" * 1000 + b".",
        lambda data: b"\x80\x02ctorch\nFloatStorage\n)R.",
        lambda data: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        lambda data: b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        lambda data: b"\x80\x02]\x94h\x00a.",
        lambda data: pickle.dumps({"a": [1]}, 2)[:-1] + b"cos\nsystem\n}b.",
    ],
)
def test_malformed_pickles_are_damaged_files_not_crashes(change, tmp_path):
    torch.save({"a": torch.arange(4.0)}, tmp_path / "good.pth")
    rewritten(tmp_path / "good.pth", tmp_path / "bad.pth", change)
    refusal(salvage, tmp_path / "bad.pth")


def test_names_in_a_pickle_are_neither_imported_nor_looked_up(tmp_path, monkeypatch):
    import builtins

    torch.save({"a": torch.ones(1)}, tmp_path / "good.pth")
    program = b"\x80\x02}X\x01\x00\x00\x00acsegfocal_of_nobody\nthing\n)Rs."
    rewritten(tmp_path / "good.pth", tmp_path / "odd.pth", lambda data: program)
    asked = []
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: asked.append(name) or real(name, *rest))
    refusal(salvage, tmp_path / "odd.pth")
    assert "segfocal_of_nobody" not in asked


def test_compressed_archives_are_refused_before_they_unfold(tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "good.pth")
    shutil.copy(tmp_path / "good.pth", tmp_path / "bomb.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    assert "compressed" in refusal(salvage, tmp_path / "bomb.pth")


def test_position_embeddings_are_interpolated_between_pixel_centres():
    grid = torch.randn(1, 8, 8, 5)
    expected = F.interpolate(grid.permute(0, 3, 1, 2), scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized(grid, (1, 4, 4, 5)), expected.permute(0, 2, 3, 1))
    assert torch.equal(resized(grid, (1, 8, 8, 5)), grid)


def test_reading_leaves_nothing_open(stock_file):
    read(stock_file)
    buffer = io.BytesIO(stock_file.read_bytes())
    assert torch.load(buffer, weights_only=True)
