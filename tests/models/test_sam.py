"""The promptable model's parts against segment-anything's own, and what a batch of prompts means."""

import pytest
import torch

from segfocal import models
from segfocal.models.sam import upstream
from segfocal.models.sam.encoder import EncoderSizes, SamEncoder
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer
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


def test_a_seed_gives_the_two_way_transformer_the_weights_it_gives_segment_anything():
    torch.manual_seed(4)
    stock = upstream.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64)
    torch.manual_seed(4)
    ours = SharedTwoWayTransformer(depth=2, width=32, heads=4, mlp_width=64)
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in stock.state_dict().items())


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
