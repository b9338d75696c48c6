"""The promptable model's parts against segment-anything's own, and what a batch of prompts means."""

import pytest
import torch

from segfocal import models
from segfocal.models.sam import upstream
from segfocal.models.sam.attention import fuse_attention
from segfocal.models.sam.parts import BatchMaskDecoder, BatchPromptEncoder, Embedding
from segfocal.prompts import Prompt


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return models.sam_tiny(image_size=32, width=48, heads=6, decoder_width=32).eval()


def prompts():
    """Return four different prompts: none, a box, a click, and a box with a background click."""
    none = Prompt.none(4, device=torch.device("cpu"))
    boxes = torch.full((4, 4), torch.nan)
    boxes[1] = torch.tensor([2.0, 3, 20, 25])
    boxes[3] = torch.tensor([8.0, 1, 30, 12])
    xy, labels = torch.tensor([[0.0, 0], [0, 0], [7, 9], [15, 4]]), torch.tensor([-1, -1, 1, 0])
    return none.with_boxes(boxes).with_clicks(xy, labels)


def one(prompt, i):
    return Prompt(
        points_xy=prompt.points_xy[i : i + 1],
        point_labels=prompt.point_labels[i : i + 1],
        boxes_xyxy=prompt.boxes_xyxy[i : i + 1],
        mask_logits=None,
        has_mask=prompt.has_mask[i : i + 1],
    )


@torch.no_grad()
def test_a_mixed_batch_decodes_to_the_same_numbers_as_one_at_a_time(tiny):
    image = torch.rand(4, 1, 32, 32)
    together = tiny.decode(tiny.encode(image), prompts()).logits
    for i in range(4):
        alone = tiny.decode(tiny.encode(image[i : i + 1]), one(prompts(), i)).logits
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)  # order of float32 sums


@torch.no_grad()
def test_prompts_change_the_answer(tiny):
    embedding = tiny.encode(torch.rand(1, 1, 32, 32).expand(4, -1, -1, -1))
    logits = tiny.decode(embedding, prompts()).logits
    for i in range(3):
        assert (logits[i] - logits[i + 1]).abs().max() > 1e-4


@torch.no_grad()
def test_calling_the_model_is_asking_no_prompt(tiny):
    image = torch.rand(2, 1, 32, 32)
    answer = tiny.decode(tiny.encode(image), Prompt.none(2, device=image.device))
    assert torch.equal(tiny(image), answer.logits)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["box", "points+box"])
def test_prompt_encoder_equals_segment_anything(kind):
    torch.manual_seed(1)
    options = {"embed_dim": 32, "image_embedding_size": (4, 4), "input_image_size": (32, 32), "mask_in_chans": 16}
    theirs, ours = upstream.PromptEncoder(**options), BatchPromptEncoder(**options)
    ours.load_state_dict(theirs.state_dict())
    boxes = torch.tensor([[2.0, 3, 20, 25], [8, 1, 30, 12]])
    points, labels = torch.tensor([[[7.0, 9]], [[15, 4]]]), torch.tensor([[1], [0]])
    prompt = Prompt(
        points_xy=points if "points" in kind else points[:, :0],
        point_labels=labels if "points" in kind else labels[:, :0],
        boxes_xyxy=boxes,
        mask_logits=None,
        has_mask=torch.zeros(2, dtype=torch.bool),
    )
    expected = theirs((points, labels) if "points" in kind else None, boxes, None)
    for mine, their in zip(ours(prompt), expected, strict=True):
        torch.testing.assert_close(mine, their)


@torch.no_grad()
def test_mask_decoder_equals_segment_anything_one_image_at_a_time():
    torch.manual_seed(2)

    def transformer():
        return upstream.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64)

    theirs = upstream.MaskDecoder(transformer_dim=32, transformer=transformer(), iou_head_hidden_dim=32)
    ours = BatchMaskDecoder(transformer_dim=32, transformer=transformer(), iou_head_hidden_dim=32)
    ours.load_state_dict(theirs.state_dict())
    fuse_attention(ours)
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


@torch.no_grad()
@pytest.mark.parametrize("window", [0, 3])
def test_fused_encoder_attention_equals_the_stock_one_with_relative_positions(window):
    torch.manual_seed(3)
    encoder = upstream.ImageEncoderViT(
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
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter)
    image = torch.rand(2, 3, 64, 64)
    expected = encoder(image)
    fuse_attention(encoder)
    torch.testing.assert_close(encoder(image), expected, rtol=1e-4, atol=1e-4)  # the fused kernel sums otherwise


def test_segment_anything_is_imported_without_torchvision():
    import sys

    assert "torchvision" not in sys.modules
    assert "segment_anything" not in sys.modules


def test_a_foreign_image_size_says_what_to_set(tiny):
    with pytest.raises(ValueError, match=r"data\.window"):
        tiny(torch.rand(1, 1, 40, 32))


@pytest.mark.parametrize("options", [{"image_size": 30}, {"image_size": 0}, {"width": 50}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="expected model"):
        models.sam_tiny(**options)


def test_default_sam_tiny_stays_small():
    assert 2.5e6 < sum(p.numel() for p in models.sam_tiny().parameters()) < 3e6


@pytest.mark.parametrize("target", ["os.system", "segfocal.models.build", None, "builtins.eval"])
def test_only_listed_models_are_built(target):
    with pytest.raises(ValueError, match="expected a model of"):
        models.build({"_target_": target, "command": "true"})


def test_unet_gives_one_channel_a_class():
    unet = models.build({"_target_": "segfocal.models.UNet", "classes": 3, "widths": [8, 16, 16]})
    assert unet(torch.rand(2, 1, 32, 48)).shape == (2, 3, 32, 48)


@torch.no_grad()
def test_positions_are_exact_under_autocast(tiny):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tiny.prompt_encoder(prompts())[0], tiny.prompt_encoder.get_dense_pe()
    full = tiny.prompt_encoder(prompts())[0], tiny.prompt_encoder.get_dense_pe()
    for a, b in zip(half, full, strict=True):
        assert torch.equal(a, b)
