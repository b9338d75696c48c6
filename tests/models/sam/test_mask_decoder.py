"""The mask decoder against segment-anything's, one image at a time."""

import pytest
import torch
from torch import nn

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


def with_details(kind):
    """Return a decoder of random weights, always the same, that gives three masks and sees finer features."""
    torch.manual_seed(3)
    made = kind(
        detail_channels=(12, 6),
        transformer_dim=32,
        transformer=SharedTwoWayTransformer(depth=1, width=32, heads=4, mlp_width=64),
        num_multimask_outputs=2,
        iou_head_hidden_dim=32,
    )
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


class OnMaps(BatchMaskDecoder):
    """The decoder with its last layers as SAM writes them, on maps."""

    def projected(self, details):
        return ()

    def mask_logits(self, source, queries, size, details=()):
        up_once, norm, act_once, up_twice, act_twice = self.output_upscaling
        coarse, fine = (project(maps) for project, maps in zip(self.detail_projections, self.details, strict=True))
        prompts = len(source) // len(coarse)
        maps = source.transpose(1, 2).unflatten(2, size)
        half = act_once(norm(up_once(maps) + coarse.repeat_interleave(prompts, 0)))
        upscaled = act_twice(up_twice(half) + fine.repeat_interleave(prompts, 0))
        return torch.einsum("nkc,nchw->nkhw", queries, upscaled)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_masks_in_lists_of_tokens_are_those_on_maps(shared, memory):
    """Values and gradients, of 6 prompts about 2 images of 3×5 tokens."""
    generator = torch.Generator().manual_seed(5)
    shapes = [(2, 32, 3, 5), (1, 32, 3, 5), (6, 4, 32), (6, 32, 3, 5), (2, 12, 6, 10), (2, 6, 12, 20)]
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    found = []
    for model in (with_details(BatchMaskDecoder).to(memory_format=memory), with_details(OnMaps)):
        tokens, pe, sparse, dense, *details = given = [tensor.clone().requires_grad_() for tensor in inputs]
        model.details = details
        embedding = Embedding(tokens, tuple(details))
        if shared:
            embedding = embedding._replace(projected=model.projected(embedding.details))
        masks, _ = model(embedding, pe, sparse, dense)
        assert masks.shape == (6, 3, 12, 20)
        direction = torch.randn(masks.shape, generator=torch.Generator().manual_seed(6))
        (masks * direction).sum().backward()
        # a key's bias moves no softmax: its gradient is rounding
        learnt = [p.grad for name, p in model.named_parameters() if p.grad is not None and "k_proj.bias" not in name]
        found.append([masks, *[tensor.grad for tensor in given], *learnt])
    assert len(found[0]) == len(found[1])
    for our, their in zip(*found, strict=True):
        scale = their.abs().max().item()
        torch.testing.assert_close(our, their, rtol=0, atol=1e-4 * scale)  # another order of float32 sums
