"""Images × prompts: what is decoded together is what is decoded alone; what is trained; what is refused."""

from dataclasses import replace

import pytest
import torch

from segfocal import models
from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from segfocal.models.sam.adapters import ADAPTERS
from segfocal.models.sam.families import MEDSAM, SAM, SAM_MED2D
from segfocal.prompts import Prompt
from tests.models.sam.small_models import prompts, rows, small


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
