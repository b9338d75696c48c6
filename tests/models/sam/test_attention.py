"""What runs in bfloat16 on a CPU in training: by other kernels, with the answers and gradients of the formula."""

import pytest
import torch

from segfocal.models.sam.attention import attend
from segfocal.models.sam.tiny import SamTinyOptions, TinyEncoder


def formula(q, k, v, visible, scale):
    weights = q @ k.transpose(-1, -2) * scale
    if visible is not None:
        weights = weights.masked_fill(~visible, -torch.inf)
    return weights.softmax(-1) @ v


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_and_its_gradients_are_those_of_the_formula(dtype, padded, scale):
    torch.manual_seed(0)
    given = [torch.randn(2, 3, length, 8).to(dtype).requires_grad_() for length in (5, 7, 7)]
    exact = [part.detach().double().requires_grad_() for part in given]
    visible = torch.rand(2, 1, 1, 7).ge(0.3).index_fill(3, torch.tensor([0]), True) if padded else None
    found = attend(*given, visible, scale=scale)
    true = formula(*exact, visible, scale or 8**-0.5)
    found.backward(torch.ones_like(found))
    true.backward(torch.ones_like(true))
    close = 1e-5 if dtype == torch.float32 else 0.03  # eight bits, of numbers up to about 2
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), true, rtol=close, atol=close)
    for part, own in zip(given, exact, strict=True):
        torch.testing.assert_close(part.grad.double(), own.grad, rtol=close, atol=2 * close)


def test_an_encoder_trained_in_bfloat16_has_nearly_the_gradients_of_float32():
    torch.manual_seed(0)
    encoder = TinyEncoder(SamTinyOptions(image_size=32, width=48, heads=6, depth=1, decoder_width=16))
    image, gradients = torch.rand(2, 1, 32, 32), {}
    for half in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            tokens = encoder(image).tokens
        tokens.float().square().mean().backward()
        gradients[half] = torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])
    cosine = torch.cosine_similarity(gradients[False], gradients[True], dim=0)
    assert cosine > 0.99
