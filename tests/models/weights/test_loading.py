"""Loading: what a model takes from a weight file, what is refused, and what the report says."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from segfocal import models
from segfocal.models import load_weights
from segfocal.models.weights import read
from segfocal.models.weights.loading import resized
from tests.models.weights.small_sam import refusal, small

POSITIONS = {
    "image_encoder.pos_embed",
    "image_encoder.blocks.1.attn.rel_pos_h",
    "image_encoder.blocks.1.attn.rel_pos_w",
}


def test_every_tensor_of_a_file_of_the_same_model_is_taken_over(stock, stock_file):
    model = small(64)
    report = load_weights(model, stock_file)
    assert all(torch.equal(tensor, stock[name]) for name, tensor in model.state_dict().items())
    assert report.loaded == len(stock)
    assert str(report).count("\n") == 0


def test_a_correction_decoder_is_a_copy_of_the_masks_decoder_unless_the_file_has_one(stock, stock_file, tmp_path):
    model = small(64, correction_decoder=True)
    report = load_weights(model, stock_file)
    assert not report.match.missing + report.match.unexpected
    state = model.state_dict()
    ours = [name for name in state if name.startswith("correction_decoder.")]
    assert len(ours) > 50
    assert report.match.copied == tuple(ours)
    assert report.loaded == len(stock)
    assert f"copied from the mask decoder: {len(ours)} tensors" in str(report)
    assert all(state[name].equal(stock[name.replace("correction_decoder", "mask_decoder")]) for name in ours)
    with torch.no_grad():
        model.correction_decoder.iou_token.weight.add_(1)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "own.safetensors")
    other = small(64, correction_decoder=True)
    assert not load_weights(other, tmp_path / "own.safetensors").match.copied
    assert refusal(load_weights, small(64), tmp_path / "own.safetensors").endswith("Set model.correction_decoder=true.")
    assert all(tensor.equal(other.state_dict()[name]) for name, tensor in model.state_dict().items())


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


def test_position_embeddings_are_interpolated_between_pixel_centres():
    grid = torch.randn(1, 8, 8, 5)
    expected = F.interpolate(grid.permute(0, 3, 1, 2), scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized(grid, (1, 4, 4, 5)), expected.permute(0, 2, 3, 1))
    assert torch.equal(resized(grid, (1, 8, 8, 5)), grid)


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


def write_with(value):
    """Return a writer of the stock weights with one tensor of nothing but a value."""
    return lambda path, stock: torch.save({**stock, "mask_decoder.iou_token.weight": torch.full((1, 16), value)}, path)


BAD = {
    "another architecture": (
        lambda path, stock: save_file(models.sam_tiny(image_size=32, width=48, decoder_width=32).state_dict(), path),
        "found sam_tiny",
    ),
    "foreign": (lambda path, stock: torch.save(nn.Linear(2, 2).state_dict(), path), "no model known here"),
    "not finite": (write_with(torch.nan), "NaN or infinity in mask_decoder.iou_token.weight"),
    "infinite": (write_with(torch.inf), "NaN or infinity in mask_decoder.iou_token.weight"),
}


@pytest.mark.parametrize("kind", BAD)
def test_weights_that_do_not_fit_are_one_clear_line_that_names_the_file(kind, stock, tmp_path):
    write, words = BAD[kind]
    write(tmp_path / "weights.pth", stock)
    line = refusal(load_weights, small(64), tmp_path / "weights.pth")
    assert words in line
    assert str(tmp_path / "weights.pth") in line
