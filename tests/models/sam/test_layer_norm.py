"""The fused layer norm of maps against SAM's own."""

import pytest
import torch

from segfocal.models.sam.layer_norm import FusedLayerNorm2d
from segfocal.models.sam.upstream import LayerNorm2d


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_fused_layer_norm_of_maps_is_sams(memory):
    """Values and gradients, of maps whose channels lie far from zero."""
    torch.manual_seed(0)
    maps, direction = 3 + torch.randn(2, 12, 5, 7), torch.randn(2, 12, 5, 7)
    found = []
    for norm in (FusedLayerNorm2d(12), LayerNorm2d(12)):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, 12))
            norm.bias.copy_(torch.linspace(-1, 1, 12))
        given = maps.clone(memory_format=memory).requires_grad_()
        out = norm(given)
        (out * direction).sum().backward()
        found.append([out, given.grad, norm.weight.grad, norm.bias.grad])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)  # float32 sums in another order
