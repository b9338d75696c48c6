"""SAM's own sizes and SAM-Med2D: names and numbers of segment-anything, images × prompts, adapters, freezing."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from segfocal import models
from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam import upstream
from segfocal.models.sam.adapters import ADAPTERS, ChannelSpatialAdapter
from segfocal.models.sam.architecture import Architecture, build_sam
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder
from segfocal.models.sam.families import FAMILIES, MEDSAM, SAM, SAM_MED2D
from segfocal.models.sam.sam_options import SamOptions
from segfocal.prompts import Prompt
from tests import ROOT

CONF = ROOT / "conf" / "model"
SMALL = Architecture(
    width=32,
    depth=2,
    heads=2,
    global_blocks=(1,),
    window=3,
    decoder_width=32,
    decoder_heads=2,
    decoder_mlp=64,
    iou_width=32,
)


def small(family=SAM, *, size=80, **options):
    """Return a small SAM with random weights, position tables among them: 5×5 tokens in windows of 3."""
    torch.manual_seed(0)
    model = build_sam(SMALL, SamOptions.of(family, image_size=size, **options))
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def prompts(count, size=80):
    """Return prompts of every kind in turn: none, a box, clicks inside and outside, a mask with a click."""
    generator = torch.Generator().manual_seed(1)
    prompt = Prompt.none(count, device=torch.device("cpu"))
    boxes, labels = torch.full((count, 4), torch.nan), torch.full((count, 2), -1)
    boxes[1::4] = torch.tensor([0.1, 0.2, 0.7, 0.8]) * size
    labels[2::4] = torch.tensor([1, 0])
    labels[3::4, 0] = 0
    for column in labels.T:
        prompt = prompt.with_clicks(torch.rand(count, 2, generator=generator) * size, column)
    masks = 4 * torch.randn(count, 1, size // 4, size // 4, generator=generator)
    return replace(prompt.with_boxes(boxes), mask_logits=masks, has_mask=torch.arange(count) % 4 == 3)


def rows(prompt, kept):
    return Prompt(
        points_xy=prompt.points_xy[kept],
        point_labels=prompt.point_labels[kept],
        boxes_xyxy=prompt.boxes_xyxy[kept],
        mask_logits=None if prompt.mask_logits is None else prompt.mask_logits[kept],
        has_mask=prompt.has_mask[kept],
    )


def on_meta(name, **options):
    with torch.device("meta"):
        return getattr(models, name)(**options)


def count_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("sam_vit_b", {"image_size": 1024}, 93_735_472),
        ("sam_vit_b", {"image_size": 256}, 90_737_200),
        ("sam_med2d", {}, 271_241_776),
        ("medsam", {}, 93_735_472),
    ],
)
def test_parameters_are_as_many_as_published(name, options, count):
    assert count_of(on_meta(name, **options)) == count


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads", "everywhere"),
    [
        ("sam_vit_b", 768, 12, 12, (2, 5, 8, 11)),
        ("sam_vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        ("sam_vit_h", 1280, 32, 16, (7, 15, 23, 31)),
    ],
)
def test_names_and_shapes_are_those_of_segment_anything(name, width, depth, heads, everywhere):
    with torch.device("meta"):
        theirs = nn.Module()
        theirs.image_encoder = upstream.ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            num_heads=heads,
            use_rel_pos=True,
            global_attn_indexes=everywhere,
            window_size=14,
        )
        theirs.prompt_encoder = upstream.PromptEncoder(256, (64, 64), (1024, 1024), 16)
        transformer = upstream.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        theirs.mask_decoder = upstream.MaskDecoder(transformer_dim=256, transformer=transformer)
    ours = on_meta(name, image_size=1024).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_of_the_configs_is_on_the_list(path):
    targets = [line.removeprefix("_target_: ") for line in path.read_text().splitlines() if "_target_" in line]
    assert targets[0] in models.ALLOWED


@pytest.mark.parametrize(("size", "window"), [(80, 3), (96, 3), (32, 3), (112, 4), (64, 5)])
def test_windows_without_padded_queries_give_what_segment_anything_gives(size, window):
    """Grids of rests, of whole windows, and smaller than one window; values and gradients."""
    torch.manual_seed(0)
    options = {
        "img_size": size,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "out_chans": 8,
        "norm_layer": partial(nn.LayerNorm, eps=1e-6),
        "use_rel_pos": True,
        "window_size": window,
        "global_attn_indexes": (1,),
    }
    theirs = upstream.ImageEncoderViT(**options)
    ours = SamEncoder(
        EncoderSizes(image_size=size, width=24, depth=2, heads=3, out=8, window=window, global_blocks=(1,))
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 3, size, size)
    expected, tokens = theirs(image), ours(image).tokens
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)  # the fused kernel sums otherwise
    direction = torch.randn_like(expected)
    (expected * direction).sum().backward()
    (tokens * direction).sum().backward()
    for (name, our), their in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        scale = their.grad.abs().max().item()
        if not name.endswith("qkv.bias"):  # a key's bias moves no softmax: its gradient is rounding
            torch.testing.assert_close(our.grad, their.grad, rtol=0, atol=1e-4 * scale, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("masks", [False, True])
def test_two_images_with_three_prompts_each_decode_as_one_at_a_time(multimask, masks):
    model = small(size=64).eval()
    embedding, prompt = model.encode(torch.rand(2, 1, 64, 64)), prompts(6, 64)
    prompt = prompt if masks else replace(prompt, mask_logits=None, has_mask=torch.zeros(6, dtype=torch.bool))
    together = model.decode(embedding, prompt, multimask=multimask)
    assert together.logits.shape == (6, 3 if multimask else 1, 64, 64)
    for n in range(6):
        image = type(embedding)(tokens=embedding.tokens[n // 3 : n // 3 + 1])
        alone = model.decode(image, rows(prompt, slice(n, n + 1)), multimask=multimask)
        for several, one in zip(together, alone, strict=True):
            torch.testing.assert_close(several[n : n + 1], one, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_sam_tiny_answers_several_prompts_an_image_with_its_details():
    torch.manual_seed(0)
    model = models.sam_tiny(image_size=32, width=48, heads=6, decoder_width=32).eval()
    image, prompt = torch.rand(2, 1, 32, 32), prompts(6, 32)
    prompt = replace(prompt, mask_logits=None, has_mask=torch.zeros(6, dtype=torch.bool))
    together = model.decode(model.encode(image), prompt)
    copied = model.decode(model.encode(image.repeat_interleave(3, dim=0)), prompt)
    for several, one in zip(together, copied, strict=True):
        torch.testing.assert_close(several, one, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_absent_parts_of_a_prompt_change_nothing():
    model = small(size=64).eval()
    embedding, prompt = model.encode(torch.rand(2, 1, 64, 64)), prompts(8, 64)
    padded = prompt.with_clicks(torch.full((8, 2), 7.0), torch.full((8,), -1))
    for plain, more in zip(model.decode(embedding, prompt), model.decode(embedding, padded), strict=True):
        torch.testing.assert_close(plain, more, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_answer_of_a_multimask_model_is_the_mask_of_best_predicted_iou():
    model = small(SAM_MED2D, size=64).eval()
    embedding, prompt = model.encode(torch.rand(2, 1, 64, 64)), prompts(4, 64)
    every = model.decode(embedding, prompt, multimask=True)
    choice = every.predicted_iou.argmax(1)
    for answer in (model.answer(embedding, prompt), every.best()):
        assert torch.equal(answer.logits[:, 0], every.logits[torch.arange(4), choice])
        assert torch.equal(answer.predicted_iou[:, 0], every.predicted_iou.max(1).values)
    none = Prompt.none(2, device=torch.device("cpu"))
    image = torch.rand(2, 1, 64, 64)
    assert torch.equal(model(image), model.answer(model.encode(image), none).logits)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda m, t: m.decode(m.encode(torch.rand(2, 1, 80, 80)), prompts(3)), "as many prompts for each image"),
        (lambda m, t: m.decode(m.encode(torch.rand(2, 1, 80, 80)), rows(prompts(2), slice(0, 0))), "as many prompts"),
        (lambda m, t: t.decode(t.encode(torch.rand(1, 1, 8, 8)), prompts(1, 8), multimask=True), "several masks"),
        (lambda m, t: m(torch.rand(1, 2, 80, 80)), "2 channels"),
        (lambda m, t: small(size=70), "multiple of 16"),
        (lambda m, t: small(size=0), "multiple of 16"),
        (lambda m, t: small(adapter="adapter"), "model.adapter"),
        (lambda m, t: small(adapter="lora", rank=0), "model.rank"),
        (lambda m, t: small(freeze=["image_encoder"]), "model.freeze"),
        (lambda m, t: small(train=["*.Adapter.*"]), "model.train"),
        (lambda m, t: small(replace(SAM, channel_order="gbr")), "channel_order"),
    ],
)
def test_what_cannot_be_says_what_can(ask, words):
    tiny = models.sam_tiny(image_size=8, width=48, heads=6, decoder_width=32)
    with pytest.raises(ValueError, match=words):
        ask(small(), tiny)


@torch.no_grad()
def test_images_are_standardised_as_each_family_was():
    """SAM's numbers are of images in [0,255]; SAM-Med2D read blue first and used them as they stand."""
    image, seen = torch.rand(2, 3, 80, 80), []
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    for family in (SAM, SAM_MED2D, MEDSAM):
        model = small(family)
        model.image_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model.encode(image)
        model.encode(image[:, :1])
    standard = ((255 * image).permute(0, 2, 3, 1) - mean) / std
    turned = ((255 * image.flip(1)).permute(0, 2, 3, 1) - mean) / std
    grey = ((255 * image[:, :1].expand(-1, 3, -1, -1)).permute(0, 2, 3, 1) - mean) / std
    expected = [standard, grey, turned, grey]
    for ours, theirs in zip(seen, expected, strict=False):
        torch.testing.assert_close(ours, theirs.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)
    assert torch.equal(seen[4], image)


def test_conventions_of_a_family_are_the_defaults_of_its_models():
    for name, family in {"sam_vit_b": "sam", "sam_vit_l": "sam", "sam_vit_h": "sam"}.items() | {
        ("sam_med2d", "sam_med2d"),
        ("medsam", "medsam"),
    }:
        model, facts = on_meta(name), FAMILIES[family]
        assert model.channel_order == facts.channel_order
        assert model.multimask == facts.multimask
        assert model.prompt_encoder.mask_probabilities == facts.mask_probabilities


@torch.no_grad()
def test_sam_med2d_gets_its_mask_prompts_as_probabilities():
    model, prompt = small(SAM_MED2D, size=64).eval(), prompts(4, 64)
    embedding = model.encode(torch.rand(1, 1, 64, 64))
    asked = model.decode(embedding, prompt)
    model.prompt_encoder.mask_probabilities = False
    same = model.decode(embedding, replace(prompt, mask_logits=prompt.mask_logits.sigmoid()))
    assert torch.equal(asked.logits, same.logits)


@torch.no_grad()
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_starts_as_if_it_were_not_there(adapter):
    plain, adapted, image = small(), small(adapter=adapter), torch.rand(1, 1, 80, 80)
    missing = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(".Adapter." in key or ".lora_" in key for key in missing.missing_keys)
    torch.testing.assert_close(adapted.encode(image).tokens, plain.encode(image).tokens)


@torch.no_grad()
@pytest.mark.parametrize(("h", "w"), [(4, 4), (5, 7), (1, 2)])
def test_sam_med2d_adapter_is_its_formula(h, w):
    torch.manual_seed(0)
    adapter, tokens = ChannelSpatialAdapter(8), torch.randn(2, h, w, 8)
    nn.init.normal_(adapter.norm.weight)
    maps = tokens.permute(0, 3, 1, 2)
    weighed = adapter.channel(maps.mean((2, 3)))[:, :, None, None] * maps
    expected = adapter.norm((maps + adapter.spatial(weighed)[:, :, :h, :w]).permute(0, 2, 3, 1))
    torch.testing.assert_close(adapter(tokens), expected, rtol=1e-5, atol=1e-6)  # sums in another order


def step_of(model, *, seed=0):
    """Run forward and backward of two rounds with mixed prompts and the IoU head in the loss; return the total."""
    generator = torch.Generator().manual_seed(seed)
    size = model.image_size
    image = torch.rand(2, 1, size, size, generator=generator)
    target = (torch.rand(8, 1, size, size, generator=generator) > 0.6).to(torch.uint8)
    criterion = WeightedSum(
        {"focal": FocalLoss(), "dice": DiceLoss(), "iou": IoUHeadLoss()}, {"focal": 20.0, "dice": 1.0, "iou": 1.0}
    )
    answer = model.decode(model.encode(image), prompts(8, size), multimask=model.multimask)
    total = sum(
        criterion(answer.logits[:, k : k + 1], target, answer.predicted_iou[:, k : k + 1]).total
        for k in range(answer.logits.shape[1])
    )
    total.backward()
    return total.detach()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", [SAM, SAM_MED2D], ids=["single", "multimask"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_trained_parameter_gets_a_gradient_and_no_frozen_one(adapter, family, checkpointing):
    train = {"none": [], "lora": ["*.lora_*"]}.get(adapter, ["*.Adapter.*"])
    freeze = [] if adapter == "none" else ["image_encoder.*"]
    model = small(family, adapter=adapter, freeze=freeze, train=train, checkpointing=checkpointing)
    silent = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(2):  # what a zero-initialised layer hides gets its gradient from the second step on
        step_of(model, seed=step)
        got = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert got <= {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        silent -= got
        optimizer.step()
        optimizer.zero_grad()
    assert not silent


def test_masks_a_model_never_gives_are_not_trained():
    kinds = {False: [0], True: [1, 2, 3]}
    for multimask, trained in kinds.items():
        networks = small(replace(SAM, multimask=multimask)).mask_decoder.output_hypernetworks_mlps
        assert [i for i, net in enumerate(networks) if next(net.parameters()).requires_grad] == trained


def test_checkpointing_changes_no_number():
    plain, again = small(), small(checkpointing=True)
    assert step_of(plain) == step_of(again)
    for (name, one), two in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (one.grad is None and two.grad is None) or torch.equal(one.grad, two.grad), name


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_bf16_autocast_gives_finite_masks_that_the_losses_accept(adapter):
    model = small(adapter=adapter)
    exact = step_of(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = step_of(model)
    assert rounded == pytest.approx(exact.item(), rel=0.05)  # bf16 keeps two to three digits
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_parameter_table_counts_what_is_trained():
    table = {row.group: row for row in models.parameter_table(on_meta("sam_med2d"))}
    assert list(table)[-1] == "total"
    assert table["total"].parameters == 271_241_776
    assert table["total"].parameters == sum(row.parameters for name, row in table.items() if name != "total")
    assert all(row.parameters == row.trained + row.frozen for row in table.values())
    adapters = table["image_encoder.blocks.*.Adapter"]
    assert adapters.trained == adapters.parameters == 180_504_576
    assert table["image_encoder.blocks"].trained == table["image_encoder.neck"].trained == 0
    assert table["prompt_encoder.mask_downscaling"].frozen == 0
    assert "image_encoder.blocks.*.attn.qkv.lora" in {
        row.group for row in models.parameter_table(small(adapter="lora"))
    }


def test_train_excepts_from_freeze():
    model = small(adapter="bottleneck")
    freeze_parameters(model, ["image_encoder.*", "prompt_encoder.*"], ["*.Adapter.*", "*.no_mask_embed.*"])
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "prompt_encoder.no_mask_embed.weight" in trained
    assert {n for n in trained if n.startswith("image_encoder")} == {
        f"image_encoder.blocks.{i}.Adapter.{part}"
        for i in (0, 1)
        for part in ("down.weight", "down.bias", "up.weight", "up.bias")
    }
