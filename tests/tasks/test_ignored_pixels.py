"""Ignored pixels: no loss, no gradient, no prompt, whatever the loss; and they move with the image."""

from dataclasses import replace
from functools import cache

import hydra
import numpy as np
import pytest
import torch
from torch import nn

from segfocal.augment import Augment
from segfocal.batch import Batch, Origin, SampleKey
from segfocal.component_cells import component_cells
from segfocal.losses import IoUHeadLoss
from segfocal.tasks import FirstPrompt, Promptable, RoundPlan, Semantic
from tests import ROOT
from tests.tasks.models import batch, tiny, with_iou_head

CONF = ROOT / "conf"
LOSSES = sorted(p.stem for p in (CONF / "loss").glob("*.yaml") if p.stem != "sum")  # which has no terms yet
H, W = 9, 13


class Answers(nn.Module):
    """A network whose logits are its parameters."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, image):
        return self.logits


@cache
def config_of(name):
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        return hydra.compose("train", overrides=[f"loss={name}", "loss.compile=false"]).loss


def loss_of(name):
    config = config_of(name)
    if "iou_head" in config.terms:  # is of no pixels
        config = {**config, "terms": {**config.terms}, "weights": {**config.weights}}
        del config["terms"]["iou_head"], config["weights"]["iou_head"]
    criterion = hydra.utils.instantiate(config)
    criterion.use_rates([0.7, 0.2, 0.1])
    criterion.at(0.5)
    return criterion


def exercise(share):
    """Return logits [2,2,h,w], disjoint targets, and a mask of ignored pixels, where no target is."""
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(2, 2, H, W, generator=generator)
    ignored = torch.rand(2, 1, H, W, generator=generator) < share
    kind = torch.randint(0, 3, (2, 1, H, W), generator=generator).masked_fill(ignored, 0)
    return logits, (kind == torch.tensor([1, 2]).reshape(1, 2, 1, 1)).to(torch.uint8), ignored


def cells_of(target):
    cells = [component_cells(mask.numpy(), (1.0, 1.0)).astype("int32") for mask in target.flatten(0, 1)]
    return torch.from_numpy(np.stack(cells)).reshape(target.shape)


def loss_and_gradient(criterion, logits, target, ignored):
    model = Answers(logits)
    keys = (SampleKey(0, 0, 0), SampleKey(0, 0, 1))
    seen = Batch(
        image=torch.zeros(2, 1, H, W),
        target=target,
        keys=keys,
        origins=(Origin("a"), Origin("b")),
        ignored=ignored,
        cells=cells_of(target) if criterion.uses_components else None,
    )
    total = Semantic(model=model, criterion=criterion)(seen).total
    total.backward()
    return total.detach(), model.logits.grad


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_network_says_of_ignored_pixels_changes_nothing(name):
    criterion = loss_of(name)
    logits, target, ignored = exercise(0.3)
    other = torch.where(ignored, -3 * logits + 7, logits)
    first, gradient = loss_and_gradient(criterion, logits, target, ignored)
    second, again = loss_and_gradient(criterion, other, target, ignored)
    assert first == second > 0
    assert torch.equal(gradient, again)
    assert not gradient.masked_select(ignored).any()
    counted = gradient.masked_select(~ignored)
    assert counted.count_nonzero() > 0.9 * counted.numel()


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_ignored_as_a_whole_costs_nothing(name):
    logits, target, ignored = exercise(2.0)
    loss, gradient = loss_and_gradient(loss_of(name), logits, target, ignored)
    assert 0 <= loss < (1e-4 if name == "focal_tversky" else 1e-30)  # its power has a floor below which it is constant
    assert not gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_other_pixels_count_as_if_the_network_knew_the_ignored_ones(name):
    criterion = loss_of(name)
    logits, target, ignored = exercise(0.3)
    loss, gradient = loss_and_gradient(criterion, logits, target, ignored)
    sure, whole = loss_and_gradient(criterion, logits.masked_fill(ignored, -200.0), target, None)
    torch.testing.assert_close(loss, sure)
    torch.testing.assert_close(gradient, whole)


def corner_ignored(structures=1, empty=False):
    seen = batch(structures=structures, empty=empty)
    ignored = torch.zeros(len(seen), 1, *seen.image.shape[-2:], dtype=torch.bool)
    ignored[:, :, :, 20:] = True
    return replace(seen, target=seen.target.masked_fill(ignored, 0), ignored=ignored)


@pytest.mark.parametrize("empty", [False, True])
def test_no_prompt_lies_on_an_ignored_pixel(monkeypatch, empty):
    model, prompts = tiny(), []
    decode = model.decode

    def heard(embedding, prompt, **options):
        prompts.append(prompt)
        answer = decode(embedding, prompt, **options)
        return answer._replace(logits=answer.logits.abs() + 1)  # a false alarm everywhere

    monkeypatch.setattr(model, "decode", heard)
    first = FirstPrompt(none=0, box=0, point=1, empty="background")
    task = Promptable(model=model, criterion=with_iou_head(), rounds=3, first=first, plan=RoundPlan(clicks=(9,)))
    task(corner_ignored(structures=1, empty=empty))
    xy = torch.cat([prompt.points_xy[prompt.point_labels >= 0] for prompt in prompts])
    assert len(xy) > 50
    assert xy[:, 0].max() < 20


def test_a_promptable_model_learns_nothing_of_ignored_pixels():
    assert _loss_with_corner(0.0) == _loss_with_corner(50.0)


def _loss_with_corner(value):
    """Return the loss of a model whose answers are `value` at the ignored pixels."""
    model = tiny()
    decode = model.decode

    def answered(*given, **options):
        answer = decode(*given, **options)
        logits = answer.logits.clone()
        logits[..., 20:] = value
        return answer._replace(logits=logits)

    model.decode = answered
    task = Promptable(model=model, criterion=with_iou_head(), first=FirstPrompt(none=0, box=1, point=0))
    return task(corner_ignored(structures=2)).total.item()


def test_ignored_pixels_move_with_the_image():
    seen = corner_ignored()
    seen = replace(seen, image=1.0 - seen.ignored.float())
    moved = Augment(rotate=0.4, scale=0.2, shift=0.1, elastic=1.0, flip=("w",))(seen, size=(28, 28))
    assert moved.ignored.dtype == torch.bool
    assert moved.ignored.shape == (4, 1, 28, 28)
    inside = torch.nn.functional.max_pool2d((moved.image > 0.99).float(), 1) > 0
    assert not (moved.ignored & inside).any()
    assert moved.ignored.any(dim=(1, 2, 3)).all()
    assert not (moved.target.bool() & moved.ignored).any()


def test_without_an_ignored_pixel_nothing_changes():
    seen = batch()
    none = replace(seen, ignored=torch.zeros(len(seen), 1, *seen.image.shape[-2:], dtype=torch.bool))
    augment = Augment(rotate=0.4, elastic=1.0, enhance=0.1, noise=0.05)
    first, second = augment(seen, size=(32, 32)), augment(none, size=(32, 32))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.target, second.target)
    assert first.ignored is None
    task = Promptable(model=tiny(), criterion=with_iou_head(), rounds=2)
    assert task(seen).total == task(none).total


def test_the_iou_head_is_judged_outside_of_ignored_pixels():
    assert (
        IoUHeadLoss()(
            torch.tensor([[[[-1e4, 3.0]]]]), torch.tensor([[[[0, 1]]]], dtype=torch.uint8), torch.ones(1, 1)
        ).item()
        == 0
    )
