"""The two-way transformer: a seed gives it segment-anything's weights."""

import torch

from segfocal.models.sam import upstream
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer


def test_a_seed_gives_the_two_way_transformer_the_weights_it_gives_segment_anything():
    torch.manual_seed(4)
    stock = upstream.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64)
    torch.manual_seed(4)
    ours = SharedTwoWayTransformer(depth=2, width=32, heads=4, mlp_width=64)
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in stock.state_dict().items())
