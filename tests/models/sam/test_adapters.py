"""Adapters: they start as if they were not there, and SAM-Med2D's is its formula."""

import pytest
import torch
from torch import nn

from segfocal.models.sam.adapters import ADAPTERS, ChannelSpatialAdapter
from tests.models.sam.small_models import small


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
