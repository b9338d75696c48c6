"""LiteMedSAM: the shapes of its file, laws of its encoder, and, where the file is in the user's cache, its answers."""

import json

import pytest
import torch
from torch.nn import functional as F

from segfocal import models
from segfocal.intensity import Percentiles, Window
from segfocal.io import nifti
from segfocal.models.sam.tiny_vit import PIXELS, Block, ConvNorm, TinyViT
from segfocal.models.weights.published import cached_at
from segfocal.prompts import Prompt, boxes_of
from tests import DEMO

TOKENS = [-0.0362992, -0.0655827, -0.0554322, -0.0443720]
LOGITS = [-18.922325, 2.942773, 3.777535, 0.150064]
needs_file = pytest.mark.skipif(
    not cached_at("lite_medsam").is_file(), reason="no weights: run segfocal weights get lite_medsam"
)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return models.lite_medsam(image_size=32)


@pytest.fixture(scope="module")
def pretrained():
    model = models.lite_medsam()
    models.load_weights(model, cached_at("lite_medsam"))
    return model.eval()


def boxes(values):
    return Prompt.none(len(values), device=torch.device("cpu")).with_boxes(torch.tensor(values))


def test_it_has_the_tensors_of_the_published_file():
    model = models.lite_medsam()
    assert len(model.state_dict()) == 435
    assert sum(p.numel() for p in model.parameters()) == 9_791_300
    assert sum(p.numel() for p in model.image_encoder.parameters()) == 5_726_740
    assert model.state_dict()["image_encoder.layers.2.blocks.5.attn.attention_biases"].shape == (5, 196)
    assert model.state_dict()["image_encoder.layers.0.downsample.conv2.bn.running_var"].shape == (128,)


@torch.no_grad()
def test_grey_images_are_grey_in_every_colour(small):
    image = torch.rand(2, 1, 32, 32)
    grey, colour = (small.encode(x).tokens for x in (image, image.expand(-1, 3, -1, -1)))
    assert grey.shape == (2, 256, 8, 8)
    assert torch.equal(grey, colour)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_a_folded_batch_norm_is_a_batch_norm(stride):
    layer = ConvNorm(6, 6, 3, stride=stride, groups=6)
    for tensor in (layer.bn.weight, layer.bn.bias, layer.bn.running_mean, layer.bn.running_var):
        tensor.copy_(torch.rand(6) + 0.5)
    layer.eval()
    x = torch.randn(2, 6, 9, 7)
    torch.testing.assert_close(layer(x), layer.bn(layer.c(x)))


def test_frozen_statistics_stay_while_scale_and_shift_learn(small):
    small.train()
    before = {k: v.clone() for k, v in small.state_dict().items() if "running" in k or "num_batches" in k}
    small.encode(torch.rand(2, 1, 32, 32)).tokens.square().mean().backward()
    assert all(torch.equal(small.state_dict()[name], value) for name, value in before.items())
    for name, parameter in small.image_encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    small.zero_grad()


def test_statistics_follow_the_images_when_they_are_not_frozen():
    encoder = TinyViT(PIXELS, out=8, frozen_statistics=False, checkpointing=False).train()
    encoder(torch.rand(2, 3, 32, 32))
    assert encoder.patch_embed.seq[0].bn.num_batches_tracked == 1
    assert encoder.patch_embed.seq[0].bn.running_mean.abs().sum() > 0


def test_checkpointing_gives_the_same_gradients():
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        encoder = TinyViT(PIXELS, out=8, frozen_statistics=True, checkpointing=checkpointing).train()
        encoder(torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)).tokens.square().mean().backward()
        grads.append([parameter.grad for parameter in encoder.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_attention_stays_in_its_window_and_covers_odd_sizes():
    """In a map of 10×9 tokens and windows of 4, only a token's own window sees that it changed."""
    block = Block(8, heads=2, window=4).eval()
    x = torch.randn(1, 8, 10, 9)
    changed = x.clone()
    changed[:, :, 5, 6] = torch.randn(8)
    difference = (block.attend_in_windows(changed) - block.attend_in_windows(x)).abs().sum(1)[0]
    touched = torch.zeros(10, 9, dtype=torch.bool)
    touched[4:8, 4:8] = True
    assert (difference[touched] > 0).all()
    assert (difference[~touched] == 0).all()


@torch.no_grad()
def test_attention_is_the_textbook_one_with_a_bias_for_each_distance():
    block = Block(6, heads=3, window=3).eval()
    torch.nn.init.normal_(block.attn.attention_biases)
    x = torch.randn(1, 6, 3, 3)
    tokens = x.flatten(2)[0].T
    projected = block.attn.qkv(block.attn.norm(tokens)).reshape(9, 3, 3, 2)
    out = torch.zeros(9, 6)
    for head in range(3):
        q, k, v = projected[:, head].unbind(1)
        scores = q @ k.T / 2**0.5
        for i in range(9):
            for j in range(9):
                scores[i, j] += block.attn.attention_biases[head, 3 * abs(i // 3 - j // 3) + abs(i % 3 - j % 3)]
        out[:, 2 * head : 2 * head + 2] = scores.softmax(1) @ v
    expected = block.attn.proj(out).T.reshape(1, 6, 3, 3)
    torch.testing.assert_close(block.attend_in_windows(x), expected)


@pytest.mark.parametrize("size", [0, 30])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=r"model\.image_size"):
        models.lite_medsam(image_size=size)


@needs_file
@torch.no_grad()
def test_the_published_weights_answer_as_the_published_code_does(pretrained):
    """Recorded from the package's own modules on this image and box."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
    image = ((x * 7).sin() * (y * 5).cos() * 0.5 + 0.5)[None, None]
    embedding = pretrained.encode(image)
    assert embedding.tokens.shape == (1, 256, 64, 64)
    answer = pretrained.answer(embedding, boxes([[30.0, 40, 150, 180]]))
    torch.testing.assert_close(embedding.tokens[0, :4, 10, 20], torch.tensor(TOKENS), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(answer.logits[0, 0, 100, 20:180:40], torch.tensor(LOGITS), rtol=1e-3, atol=1e-3)


def padded(image):
    """Return an image [h,w] at 256 pixels of its longest side, zeros right and below, and its size there."""
    low, high = image.min(), image.max()
    scale = 256 / max(image.shape)
    h, w = (round(side * scale) for side in image.shape)
    scaled = ((image - low) / (high - low).clamp(min=1e-8))[None, None]
    fitted = F.interpolate(scaled, size=(h, w), mode="bilinear", align_corners=False, antialias=True)
    return F.pad(fitted, (0, 256 - w, 0, 256 - h)), (h, w)


@torch.no_grad()
def zero_shot(model, case, modality, structures):
    """Return the mean Dice over the slices that hold each structure, for its box, on the slice's own pixels."""
    names = json.loads((DEMO / "label_names.json").read_text())[modality]
    values = {name: int(value) for value, name in names.items() if name in structures}
    intensity = Window(lower=-160, upper=240) if modality == "ct" else Percentiles()
    scan = nifti.read(DEMO / f"{case}_image.nii.gz").oriented("SPL").array
    labels = torch.from_numpy(nifti.read_labels(DEMO / f"{case}_label.nii.gz").oriented("SPL").array.copy())
    images = torch.from_numpy(intensity(scan))
    dice = {name: [] for name in structures}
    for image, label in zip(images, labels, strict=True):
        present = {name: label == value for name, value in values.items() if (label == value).any()}
        if not present:
            continue
        fitted, (h, w) = padded(image)
        embedding = model.encode(fitted)
        for name, target in present.items():
            scale = torch.tensor([w / image.shape[1], h / image.shape[0]] * 2)
            prompt = Prompt.none(1, device=scale.device).with_boxes(boxes_of(target[None, None].float()) * scale)
            logits = model.answer(embedding, prompt).logits[:, :, :h, :w]
            own = F.interpolate(logits, size=image.shape, mode="bilinear", align_corners=False)[0, 0]
            dice[name].append(float(2 * ((own > 0) & target).sum() / ((own > 0).sum() + target.sum())))
    return {name: sum(values) / len(values) for name, values in dice.items()}


@needs_file
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "modality", "at_least"),
    [
        ("ct_a", "ct", {"liver": 0.88, "spleen": 0.94, "aorta": 0.92}),
        ("mr_d", "mr", {"liver": 0.90}),
    ],
)
def test_boxes_are_answered_well_without_any_training(pretrained, case, modality, at_least):
    found = zero_shot(pretrained, case, modality, list(at_least))
    print(case, {name: round(value, 4) for name, value in found.items()})
    for name, least in at_least.items():
        assert found[name] >= least, name
