"""The image encoder against segment-anything's: weights of a seed, windows, relative positions."""

from functools import partial

import pytest
import torch
from torch import nn

from segfocal.models.sam import upstream
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder


@torch.no_grad()
@pytest.mark.parametrize("window", [0, 3])
def test_fused_encoder_attention_equals_the_stock_one_with_relative_positions(window):
    torch.manual_seed(3)
    stock = upstream.ImageEncoderViT(
        img_size=64,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=2,
        out_chans=8,
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=(1,),
    )
    for name, parameter in stock.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter)
    sizes = EncoderSizes(
        image_size=64, patch=8, width=24, depth=2, heads=2, out=8, window=window, global_blocks=(1,), norm_eps=1e-5
    )
    fused = SamEncoder(sizes)
    fused.load_state_dict(stock.state_dict())
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(
        fused(image).tokens, stock(image), rtol=1e-4, atol=1e-4
    )  # the fused kernel sums otherwise


@pytest.mark.parametrize("relative", [False, True])
def test_a_seed_gives_the_encoder_the_weights_it_gives_segment_anything(relative):
    torch.manual_seed(4)
    stock = upstream.ImageEncoderViT(
        img_size=32, embed_dim=24, depth=2, num_heads=2, out_chans=8, use_rel_pos=relative, window_size=3
    )
    torch.manual_seed(4)
    ours = SamEncoder(
        EncoderSizes(image_size=32, width=24, depth=2, heads=2, out=8, window=3, relative_positions=relative)
    )
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in stock.state_dict().items())


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
