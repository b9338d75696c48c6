"""MobileSAM: the tensors of its file, the answers of its authors' code, and what it shares with LiteMedSAM."""

import zlib

import pytest
import torch
from torch.nn import functional as F

from segfocal import models
from segfocal.export.halves import write_halves
from segfocal.export.onnx_network import OnnxPromptable
from segfocal.models.sam.tiny_vit import PIXELS, QUARTERS, TinyViT
from segfocal.prompts import Prompt

# Recorded from the authors' modules (mobilesam-mirror 1.0.0) with the numbers of `filled`, on `pattern(160)` and a box.
TOKENS = [0.47549, 0.41977, -1.59269, 0.52181]  # the first channels at row 3, column 7
ROW = [-0.26691, 1.91224, 0.03308, 1.57999]  # logits at y = 80, x = 20, 60, 100, 140
COLUMN = [3.93637, -0.81054, 4.0188, -0.37352]  # at x = 55, y = 20, 60, 100, 140

EXCERPT = {  # of the published file
    "image_encoder.patch_embed.seq.0.c.weight": (32, 3, 3, 3),
    "image_encoder.patch_embed.seq.0.bn.running_var": (32,),
    "image_encoder.patch_embed.seq.2.c.weight": (64, 32, 3, 3),
    "image_encoder.layers.0.blocks.1.conv2.c.weight": (256, 1, 3, 3),
    "image_encoder.layers.0.downsample.conv2.c.weight": (128, 1, 3, 3),
    "image_encoder.layers.1.blocks.0.attn.attention_biases": (4, 49),
    "image_encoder.layers.1.blocks.0.local_conv.c.weight": (128, 1, 3, 3),
    "image_encoder.layers.2.blocks.5.attn.attention_biases": (5, 196),
    "image_encoder.layers.2.downsample.conv1.c.weight": (320, 160, 1, 1),
    "image_encoder.layers.3.blocks.1.attn.qkv.weight": (960, 320),
    "image_encoder.layers.3.blocks.1.mlp.fc1.bias": (1280,),
    "image_encoder.neck.0.weight": (256, 320, 1, 1),
    "image_encoder.neck.3.bias": (256,),
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
    "prompt_encoder.mask_downscaling.6.weight": (256, 16, 1, 1),
    "mask_decoder.mask_tokens.weight": (4, 256),
    "mask_decoder.transformer.layers.1.mlp.lin1.weight": (2048, 256),
}


def conv_norm(channels, width, side=1, groups=1):
    return channels // groups * width * side**2 + 2 * width


def encoder_parameters():
    """Count a TinyViT of 64, 128, 160 and 320 channels, layer by layer."""
    total = conv_norm(3, 32, 3) + conv_norm(32, 64, 3)
    total += 2 * (conv_norm(64, 256) + conv_norm(256, 256, 3, groups=256) + conv_norm(256, 64))
    for channels, width in ((64, 128), (128, 160), (160, 320)):
        total += conv_norm(channels, width) + conv_norm(width, width, 3, groups=width) + conv_norm(width, width)
    for width, blocks, heads, window in ((128, 2, 4, 7), (160, 6, 5, 14), (320, 2, 10, 7)):
        attention = 2 * width + 3 * width * (width + 1) + width * (width + 1) + heads * window**2
        mlp = 2 * width + 4 * width * (width + 1) + width * (4 * width + 1)
        total += blocks * (attention + conv_norm(width, width, 3, groups=width) + mlp)
    return total + 320 * 256 + 256 * 256 * 9 + 2 * 2 * 256


def test_it_has_the_tensors_of_the_published_file():
    model = models.mobile_sam(image_size=1024)
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: state[name] for name in EXCERPT} == EXCERPT
    assert len(state) == 435  # the file has the four of a classifier besides
    encoder = sum(p.numel() for p in model.image_encoder.parameters())
    assert encoder == encoder_parameters() == 5_743_892
    whole = sum(p.numel() for p in model.parameters())
    classifier = 2 * 320 + 1000 * (320 + 1)
    assert whole + classifier == 10_130_092  # of the authors' program


def test_it_has_sams_decoder():
    with torch.device("meta"):
        ours, theirs = (build(image_size=1024).state_dict() for build in (models.mobile_sam, models.sam_vit_b))
    parts = [
        {name: tensor.shape for name, tensor in state.items() if not name.startswith("image_encoder.")}
        for state in (ours, theirs)
    ]
    assert parts[0] == parts[1]


def filled(model):
    """Give each tensor of a model numbers that depend on its name alone."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            phase = zlib.crc32(name.encode()) % 1000
            # in [-1,1] and, unlike a sampled wave, of full rank as a matrix
            mixed = (torch.arange(tensor.numel(), dtype=torch.float64) * 12.9898 + phase).sin() * 43758.5453
            values = (2 * (mixed - mixed.floor()) - 1).reshape(tensor.shape)
            if name.endswith("running_var"):
                values = 1 + 0.5 * values
            elif name.endswith(("bias", "running_mean")):
                values = 0.1 * values
            elif tensor.ndim == 1:
                values = 1 + 0.2 * values
            elif tensor.ndim == 4 or "mlp" in name or "attn" in name:
                values = values * (6 / tensor[0].numel()) ** 0.5
            tensor.copy_(values)
    return model.eval()


def pattern(side):
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return ((x * 7).sin() * (y * 5).cos() * 0.5 + 0.5)[None, None]


@torch.no_grad()
def test_it_answers_as_the_authors_program_does():
    model = filled(models.mobile_sam(image_size=160))
    embedding = model.encode(pattern(160))
    assert embedding.tokens.shape == (1, 256, 10, 10)
    torch.testing.assert_close(embedding.tokens[0, :4, 3, 7], torch.tensor(TOKENS), rtol=1e-3, atol=1e-4)
    prompt = Prompt.none(1, device=torch.device("cpu")).with_boxes(torch.tensor([[20.0, 30, 110, 140]]))
    logits = model.answer(embedding, prompt).logits[0, 0]
    torch.testing.assert_close(logits[80, 20:160:40], torch.tensor(ROW), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(logits[20:160:40, 55], torch.tensor(COLUMN), rtol=1e-3, atol=1e-3)


def with_norm(x, layer, step):
    """Filter [c,h,w] by 3×3 and standardise, pixel by pixel: zeros lie around the image."""
    h, w = x.shape[1] // step, x.shape[2] // step
    around = F.pad(x, (1, 1, 1, 1))
    out = torch.zeros(len(layer.c.weight), h, w)
    for i in range(h):
        for j in range(w):
            seen = around[:, step * i : step * i + 3, step * j : step * j + 3]
            out[:, i, j] = (layer.c.weight * seen).sum((1, 2, 3))
    mean, variance, gain, bias = (
        tensor[:, None, None]
        for tensor in (layer.bn.running_mean, layer.bn.running_var, layer.bn.weight, layer.bn.bias)
    )
    return (out - mean) / (variance + 1e-5).sqrt() * gain + bias


@torch.no_grad()
def test_the_patch_embedding_is_two_filters_of_every_second_pixel():
    embed = filled(TinyViT(QUARTERS, out=8, frozen_statistics=True, checkpointing=False)).patch_embed
    image = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    middle = F.gelu(with_norm(image[0], embed.seq[0], 2))
    torch.testing.assert_close(embed(image)[0], with_norm(middle, embed.seq[2], 2), rtol=1e-4, atol=1e-4)
    assert embed(image).shape == (1, 64, 4, 6)


@torch.no_grad()
def test_it_is_lite_medsam_behind_the_patch_embedding():
    """Filters that see their middle alone make it LiteMedSAM on every fourth pixel."""
    lite, mobile = (
        filled(TinyViT(patches, out=8, frozen_statistics=True, checkpointing=False)) for patches in (PIXELS, QUARTERS)
    )
    state = lite.state_dict()
    for name in ("patch_embed.seq.0.c.weight", "patch_embed.seq.2.c.weight"):
        state[name] = F.pad(state[name], (1, 1, 1, 1))
    mobile.load_state_dict(state)
    image = torch.randn(1, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    ours, theirs = mobile(image).tokens, lite(image[:, :, ::4, ::4]).tokens
    assert ours.shape == (1, 8, 8, 6)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_of_the_encoder_learns_and_the_statistics_stay(checkpointing):
    torch.manual_seed(0)
    model = models.mobile_sam(image_size=32, checkpointing=checkpointing).train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k or "num_batches" in k}
    model.encode(torch.rand(2, 1, 32, 32)).tokens.square().mean().backward()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    for name, parameter in model.image_encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_images_are_standardised_as_sams(monkeypatch):
    model = models.mobile_sam(image_size=16)
    seen = []
    monkeypatch.setattr(model.image_encoder, "forward", seen.append)
    model.encode(torch.full((1, 1, 16, 16), 0.5))
    expected = [(127.5 - 123.675) / 58.395, (127.5 - 116.28) / 57.12, (127.5 - 103.53) / 57.375]
    torch.testing.assert_close(seen[0][0, :, 3, 5], torch.tensor(expected))


@pytest.mark.parametrize("size", [0, 8, 40])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=rf"expected model\.image_size to be a multiple of 16; got {size}$"):
        models.mobile_sam(image_size=size)


@pytest.mark.parametrize("option", ["adapter", "mask_probabilities", "rank"])
def test_options_of_other_families_are_refused(option):
    with pytest.raises(TypeError, match=rf"mobile_sam\(\) .*'{option}'"):
        models.mobile_sam(**{option: 1})


@pytest.mark.slow
@torch.no_grad()
def test_its_halves_are_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    model = filled(models.mobile_sam(image_size=32))
    write_halves(model, tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
    halves = OnnxPromptable(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", image_size=32)
    embedding = model.encode(pattern(32))
    torch.testing.assert_close(halves.encode(pattern(32)).tokens, embedding.tokens, rtol=1e-4, atol=1e-4)
    prompt = Prompt.none(1, device=torch.device("cpu")).with_boxes(torch.tensor([[4.0, 6, 20, 30]]))
    theirs, ours = halves.answer(embedding, prompt).logits, model.answer(embedding, prompt).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-3)
