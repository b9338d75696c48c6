"""The mask decoder against segment-anything's, one image at a time."""

import torch

from segfocal.models.sam import upstream
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer


@torch.no_grad()
def test_mask_decoder_equals_segment_anything_one_image_at_a_time():
    torch.manual_seed(2)
    stock = upstream.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64)
    theirs = upstream.MaskDecoder(transformer_dim=32, transformer=stock, iou_head_hidden_dim=32)
    shared = SharedTwoWayTransformer(depth=2, width=32, heads=4, mlp_width=64)
    ours = BatchMaskDecoder(transformer_dim=32, transformer=shared, iou_head_hidden_dim=32)
    ours.load_state_dict(theirs.state_dict())
    tokens, pe, sparse, dense = (
        torch.randn(3, 32, 4, 4),
        torch.randn(1, 32, 4, 4),
        torch.randn(3, 5, 32),
        torch.randn(3, 32, 4, 4),
    )
    masks, ious = ours(Embedding(tokens=tokens), pe, sparse, dense)
    for i in range(3):
        expected = theirs.predict_masks(tokens[i : i + 1], pe, sparse[i : i + 1], dense[i : i + 1])
        torch.testing.assert_close(masks[i : i + 1], expected[0], rtol=1e-4, atol=1e-4)  # another order of float32 sums
        torch.testing.assert_close(ious[i : i + 1], expected[1], rtol=1e-4, atol=1e-4)
