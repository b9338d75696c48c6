"""The prompt encoder against segment-anything's, and masks as probabilities."""

from dataclasses import replace

import pytest
import torch

from segfocal.models.sam import upstream
from segfocal.models.sam.families import SAM_MED2D
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.prompts import Prompt
from tests.models.sam.small_models import prompts, small


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
def test_sam_med2d_gets_its_mask_prompts_as_probabilities():
    model, prompt = small(SAM_MED2D, size=64).eval(), prompts(4, 64)
    embedding = model.encode(torch.rand(1, 1, 64, 64))
    asked = model.decode(embedding, prompt)
    model.prompt_encoder.mask_probabilities = False
    same = model.decode(embedding, replace(prompt, mask_logits=prompt.mask_logits.sigmoid()))
    assert torch.equal(asked.logits, same.logits)
