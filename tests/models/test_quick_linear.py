"""Quick linear layers: torch's answers through oneDNN, and torch's own way wherever that one does not hold."""

import pytest
import torch
from torch import nn

from segfocal.models import quick_linear, sam_tiny
from segfocal.models.quick_linear import QuickLinear, quicken

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


@pytest.fixture
def asked(monkeypatch):
    """Return the list that gets the shape of what oneDNN is asked, on any processor."""
    shapes = []
    monkeypatch.setattr(quick_linear, "mkl_is_slow", lambda: True)
    real = quick_linear._by_onednn
    monkeypatch.setattr(
        quick_linear, "_by_onednn", lambda layer, x: real(layer, x) and (shapes.append(tuple(x.shape)) or True)
    )
    return shapes


def layer_of(*sizes, bias=True):
    torch.manual_seed(0)
    layer = nn.Linear(*sizes, bias=bias)
    quicken(nn.Sequential(layer))
    assert isinstance(layer, QuickLinear)
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (2, 5, 6, 24), (1, 24), (24,)])
def test_answers_are_the_products_in_double_precision_to_rounding(shape, bias, asked):
    layer = layer_of(24, 40, bias=bias)
    x = torch.randn(*shape)
    with torch.no_grad():
        found, plain = layer(x), nn.Linear.forward(layer, x)
        exact = nn.functional.linear(x.double(), layer.weight.double(), None if not bias else layer.bias.double())
    assert asked == [shape]
    assert found.shape == plain.shape
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)


def test_numbers_in_any_order_of_memory_are_taken(asked):
    layer, x = layer_of(24, 8), torch.randn(24, 3, 5).permute(2, 1, 0)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), nn.Linear.forward(layer, x), rtol=1e-6, atol=1e-6)
    assert asked


def test_gradients_half_precision_traces_and_nothing_go_torchs_way(asked):
    layer, x = layer_of(24, 8), torch.randn(3, 24)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        layer.double()(x.double())
        layer.float()(x[:0])
        traced = torch.jit.trace(layer, x, check_trace=False)  # a check asks the layer itself
        exported = torch.export.export(layer, (x,))
    assert not asked
    assert "mkldnn" not in str(traced.inlined_graph) + str(exported.graph)


@torch.no_grad()
def test_a_promptable_model_answers_as_before(asked):
    torch.manual_seed(0)
    model = sam_tiny(image_size=32, width=48, depth=1, decoder_width=32).eval()
    image = torch.rand(2, 1, 32, 32)
    quick = model(image)
    assert len(asked) > 5
    with torch.autocast("cpu", enabled=False), torch.enable_grad():
        plain = model(image).detach()
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-4)
