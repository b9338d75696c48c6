"""`sam_tiny`: what a batch of prompts means to it, and its size."""

from dataclasses import replace

import pytest
import torch

from segfocal import models
from segfocal.prompts import Prompt
from tests.models.sam.small_models import four_prompts, prompt_at, prompts


@torch.no_grad()
def test_a_mixed_batch_decodes_to_the_same_numbers_as_one_at_a_time(tiny):
    image = torch.rand(4, 1, 32, 32)
    together = tiny.decode(tiny.encode(image), four_prompts()).logits
    for i in range(4):
        alone = tiny.decode(tiny.encode(image[i : i + 1]), prompt_at(four_prompts(), i)).logits
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)  # order of float32 sums


@torch.no_grad()
def test_prompts_change_the_answer(tiny):
    embedding = tiny.encode(torch.rand(1, 1, 32, 32).expand(4, -1, -1, -1))
    logits = tiny.decode(embedding, four_prompts()).logits
    for i in range(3):
        assert (logits[i] - logits[i + 1]).abs().max() > 1e-4


@torch.no_grad()
def test_calling_the_model_is_asking_no_prompt(tiny):
    image = torch.rand(2, 1, 32, 32)
    answer = tiny.decode(tiny.encode(image), Prompt.none(2, device=image.device))
    assert torch.equal(tiny(image), answer.logits)


def test_a_foreign_image_size_says_what_to_set(tiny):
    with pytest.raises(ValueError, match=r"data\.window"):
        tiny(torch.rand(1, 1, 40, 32))


@pytest.mark.parametrize("options", [{"image_size": 30}, {"image_size": 0}, {"width": 50}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="expected model"):
        models.sam_tiny(**options)


def test_default_sam_tiny_stays_small():
    assert 2.5e6 < sum(p.numel() for p in models.sam_tiny().parameters()) < 3e6


@torch.no_grad()
def test_positions_are_exact_under_autocast(tiny):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tiny.prompt_encoder(four_prompts())[0], tiny.prompt_encoder.get_dense_pe()
    full = tiny.prompt_encoder(four_prompts())[0], tiny.prompt_encoder.get_dense_pe()
    for a, b in zip(half, full, strict=True):
        assert torch.equal(a, b)


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


def test_channels_last_memory_order_changes_rounding_alone():
    found = []
    for memory in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = models.sam_tiny(image_size=64, width=48, heads=6, decoder_width=32).to(memory_format=memory)
        prompt = replace(prompts(4, 64), mask_logits=torch.randn(4, 1, 32, 32))
        answer = model.decode(model.encode(torch.rand(4, 1, 64, 64)), prompt)
        direction = torch.randn(answer.logits.shape)
        ((answer.logits * direction).sum() + answer.predicted_iou.sum()).backward()
        learnt = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append({"logits": answer.logits, **learnt})
    assert found[0].keys() == found[1].keys()
    for name, plain in found[0].items():
        if not name.endswith(("k_proj.bias", "qkv.bias")):  # a key's bias moves no softmax: its gradient is rounding
            scale = plain.abs().max().item()
            torch.testing.assert_close(found[1][name], plain, rtol=0, atol=1e-4 * scale, msg=name)
