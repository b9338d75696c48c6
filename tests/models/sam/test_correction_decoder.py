"""A correction decoder: boxes keep their answers to the bit, all other prompts are answered and trained by it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from segfocal.models import lite_medsam
from segfocal.models.sam.families import SAM, SAM_MED2D
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import ABSENT, Prompt
from tests.models.sam.small_models import prompts, rows, small

BOXES, OTHERS = [0, 1], [2, 3]  # of `prompts`: none and a box; clicks, and a mask with a click


@pytest.fixture(params=[SAM, SAM_MED2D], ids=["single mask", "best of three"])
def pair(request):
    """Return a model, and the same with a correction decoder that is a copy of its own, as weights make it."""
    plain, model = small(request.param), small(request.param, correction_decoder=True)
    state = plain.state_dict()
    copies = {
        name.replace("mask_decoder.", "correction_decoder."): t for name, t in state.items() if "mask_dec" in name
    }
    model.load_state_dict(state | copies)
    return plain, model


def answers(model, prompt, images=1):
    with torch.no_grad():
        return model.answer(
            model.encode(torch.rand(images, 1, 80, 80, generator=torch.Generator().manual_seed(2))), prompt
        )


def step(model, prompt):
    """Take one step of training that moves whatever is trained."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    answer = model.decode(model.encode(torch.rand(1, 1, 80, 80)), prompt, multimask=model.multimask)
    (answer.logits.square().mean() + answer.predicted_iou.square().mean()).backward()
    optimizer.step()


def test_a_copy_answers_every_prompt_as_the_decoder_does(pair):
    for kept in ([0], [1], [2], [3], BOXES, OTHERS, [0, 1, 2, 3]):
        of_plain, of_model = (answers(one, rows(prompts(4), kept)) for one in pair)
        assert of_plain.logits.equal(of_model.logits)
        assert of_plain.predicted_iou.equal(of_model.predicted_iou)


def test_training_leaves_the_answers_to_boxes_alone_as_they_were_and_moves_the_others(pair):
    plain, model = pair
    for _ in range(3):
        step(model, prompts(4))
    before, after = answers(plain, prompts(4)), answers(model, prompts(4))
    assert after.logits[BOXES].equal(before.logits[BOXES])
    assert after.predicted_iou[BOXES].equal(before.predicted_iou[BOXES])
    for row in OTHERS:
        assert (after.logits[row] - before.logits[row]).abs().max() > 1e-3
        alone = answers(model, rows(prompts(4), [row]))
        torch.testing.assert_close(after.logits[[row]], alone.logits, rtol=1e-4, atol=1e-4)


def test_a_batch_of_boxes_alone_trains_nothing_and_fails_nowhere(pair):
    _, model = pair
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step(model, rows(prompts(4), [1]))
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_what_boxes_go_through_is_frozen(pair):
    _, model = pair
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"correction_decoder", "prompt_encoder"}
    ours = {name for name in trained if name.startswith("prompt_encoder")}
    assert {".".join(name.split(".")[1:3]) for name in ours if "mask_down" not in name} == {
        "point_embeddings.0",
        "point_embeddings.1",
    }


def test_batch_norms_that_training_changes_are_refused():
    with pytest.raises(ValueError, match=r"expected model\.frozen_statistics=true with model\.correction_decoder=true"):
        lite_medsam(image_size=32, correction_decoder=True, frozen_statistics=False)


@torch.no_grad()
def test_exported_it_answers_clicks_and_boxes(pair):
    """A program holds for prompts of both kinds, whichever it was exported with."""
    _, model = pair
    model.correction_decoder.iou_token.weight.add_(1)
    tokens = model.eval().encode(torch.rand(1, 1, 80, 80)).tokens

    class Asked(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, points, labels, boxes):
            prompt = replace(
                Prompt.none(1, device=tokens.device), points_xy=points, point_labels=labels, boxes_xyxy=boxes
            )
            return self.model.answer(Embedding(tokens=tokens, details=()), prompt).logits

    box = torch.tensor([[8.0, 16.0, 56.0, 64.0]])
    click = torch.tensor([[[30.0, 40.0]]]), torch.ones(1, 1, dtype=torch.long)
    nothing = torch.zeros(1, 1, 2), torch.full((1, 1), ABSENT)
    asked = Asked()
    program = torch.export.export(asked, (tokens, *nothing, box)).module()
    for points, labels in (nothing, click):
        torch.testing.assert_close(
            program(tokens, points, labels, box), asked(tokens, points, labels, box), rtol=1e-5, atol=1e-5
        )
