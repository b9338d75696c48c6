"""Small promptable models with random weights, and prompts of every kind for them."""

from dataclasses import replace

import torch
from torch import nn

from segfocal.models.sam.architecture import Architecture, build_sam
from segfocal.models.sam.families import SAM
from segfocal.models.sam.sam_options import SamOptions
from segfocal.prompts import Prompt

SMALL = Architecture(
    width=32,
    depth=2,
    heads=2,
    global_blocks=(1,),
    window=3,
    decoder_width=32,
    decoder_heads=2,
    decoder_mlp=64,
    iou_width=32,
)


def small(family=SAM, *, size=80, **options):
    """Return a small SAM with random weights, position tables among them: 5×5 tokens in windows of 3."""
    torch.manual_seed(0)
    model = build_sam(SMALL, SamOptions.of(family, image_size=size, **options))
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def prompts(count, size=80):
    """Return prompts of every kind in turn: none, a box, clicks inside and outside, a mask with a click."""
    generator = torch.Generator().manual_seed(1)
    prompt = Prompt.none(count, device=torch.device("cpu"))
    boxes, labels = torch.full((count, 4), torch.nan), torch.full((count, 2), -1)
    boxes[1::4] = torch.tensor([0.1, 0.2, 0.7, 0.8]) * size
    labels[2::4] = torch.tensor([1, 0])
    labels[3::4, 0] = 0
    for column in labels.T:
        prompt = prompt.with_clicks(torch.rand(count, 2, generator=generator) * size, column)
    masks = 4 * torch.randn(count, 1, size // 4, size // 4, generator=generator)
    return replace(prompt.with_boxes(boxes), mask_logits=masks, has_mask=torch.arange(count) % 4 == 3)


def rows(prompt, kept):
    return Prompt(
        points_xy=prompt.points_xy[kept],
        point_labels=prompt.point_labels[kept],
        boxes_xyxy=prompt.boxes_xyxy[kept],
        mask_logits=None if prompt.mask_logits is None else prompt.mask_logits[kept],
        has_mask=prompt.has_mask[kept],
    )


def four_prompts():
    """Return four different prompts: none, a box, a click, and a box with a background click."""
    none = Prompt.none(4, device=torch.device("cpu"))
    boxes = torch.full((4, 4), torch.nan)
    boxes[1] = torch.tensor([2.0, 3, 20, 25])
    boxes[3] = torch.tensor([8.0, 1, 30, 12])
    xy, labels = torch.tensor([[0.0, 0], [0, 0], [7, 9], [15, 4]]), torch.tensor([-1, -1, 1, 0])
    return none.with_boxes(boxes).with_clicks(xy, labels)


def prompt_at(prompt, i):
    return Prompt(
        points_xy=prompt.points_xy[i : i + 1],
        point_labels=prompt.point_labels[i : i + 1],
        boxes_xyxy=prompt.boxes_xyxy[i : i + 1],
        mask_logits=None,
        has_mask=prompt.has_mask[i : i + 1],
    )
