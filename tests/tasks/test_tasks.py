"""What a batch means to each task."""

import pytest
import torch

from segfocal.batch import Batch, SampleKey
from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from segfocal.models import UNet, sam_tiny
from segfocal.tasks import Promptable, Semantic

TERMS = {"focal": FocalLoss(), "dice": DiceLoss()}
WEIGHTS = {"focal": 20.0, "dice": 1.0}


def tiny():
    torch.manual_seed(0)
    return sam_tiny(image_size=32, width=48, heads=6, decoder_width=32)


def batch(empty=False):
    target = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    if not empty:
        target[:, :, 8:20, 5:17] = 1
    image = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    keys = tuple(SampleKey(1, 2, i) for i in range(4))
    return Batch(image=image, target=target, keys=keys, sources=("a",) * 4)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_promptable_loss_is_finite_and_reaches_the_encoder(rounds, empty):
    task = Promptable(model=tiny(), criterion=WeightedSum(TERMS, WEIGHTS), rounds=rounds)
    report = task(batch(empty))
    report.total.backward()
    assert torch.isfinite(report.total)
    assert task.model.image_encoder.to_half[0].weight.grad.abs().sum() > 0


def test_all_parameters_learn_from_mixed_prompts_rounds_and_the_iou_head():
    terms = TERMS | {"iou_head": IoUHeadLoss()}
    criterion = WeightedSum(terms, WEIGHTS | {"iou_head": 1.0})
    task = Promptable(model=tiny(), criterion=criterion, none=1, box=1, point=1, rounds=4)
    silent = {name for name, p in task.named_parameters() if p.requires_grad}
    for step in range(4):
        plain = batch()
        keys = tuple(SampleKey(0, step, i) for i in range(4))
        task.zero_grad()
        task(Batch(image=plain.image, target=plain.target, keys=keys, sources=plain.sources)).total.backward()
        silent -= {name for name, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not silent


def test_the_same_keys_give_the_same_loss():
    task = Promptable(model=tiny(), criterion=WeightedSum(TERMS, WEIGHTS), rounds=2)
    assert task(batch()).total == task(batch()).total


def test_first_prompts_come_in_the_asked_proportions():
    task = Promptable(model=tiny(), criterion=WeightedSum(TERMS, WEIGHTS), none=0.5, box=0.3, point=0.2)
    target = batch().target[:1].expand(2000, -1, -1, -1)
    prompt = task._first_prompt(target, torch.rand(2000, 6, generator=torch.Generator().manual_seed(0)))
    boxes, points = prompt.boxes_xyxy.isfinite().all(1), prompt.point_labels[:, 0] == 1
    assert boxes.float().mean().item() == pytest.approx(0.3, abs=0.04)  # four standard deviations
    assert points.float().mean().item() == pytest.approx(0.2, abs=0.04)
    assert not (boxes & points).any()


def test_an_empty_target_gets_no_prompt():
    task = Promptable(model=tiny(), criterion=WeightedSum(TERMS, WEIGHTS), none=0, box=1, point=1)
    prompt = task._first_prompt(batch(empty=True).target, torch.rand(4, 6))
    assert prompt.boxes_xyxy.isnan().all()
    assert (prompt.point_labels == -1).all()


def test_semantic_loss_is_the_criterion_of_the_logits():
    unet = UNet(widths=(8, 16, 16))
    criterion = WeightedSum(TERMS, WEIGHTS)
    plain = batch()
    torch.testing.assert_close(
        Semantic(model=unet, criterion=criterion)(plain).total, criterion(unet(plain.image), plain.target).total
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda c: Promptable(model=UNet(widths=(8, 16, 16)), criterion=c), "task=semantic"),
        (lambda c: Promptable(model=tiny(), criterion=c, rounds=0), "rounds"),
        (lambda c: Promptable(model=tiny(), criterion=c, none=0, box=0, point=0), "frequencies"),
        (
            lambda _: Semantic(model=tiny(), criterion=WeightedSum({"i": IoUHeadLoss()}, {"i": 1.0})),
            "task=promptable",
        ),
    ],
)
def test_a_task_that_does_not_fit_says_what_does(make, words):
    with pytest.raises(ValueError, match=words):
        make(WeightedSum(TERMS, WEIGHTS))
