"""Which of several masks is trained."""

import pytest
import torch

from segfocal.losses import IoUHeadLoss
from segfocal.tasks import Promptable
from segfocal.tasks.multimask import best_true
from tests.tasks.models import PROMPTED, Listening, batch, criterion, several, tiny, with_iou_head


def test_the_mask_that_overlaps_most_is_best():
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[..., 2:6, 2:6] = 1
    masks = torch.zeros(1, 3, 8, 8)
    masks[:, 0, 2:6, 2:5] = 1
    masks[:, 1, 2:6, 2:6] = 1
    assert best_true(8 * masks - 4, target).tolist() == [[1]]
    assert best_true(4 - 8 * masks, target).tolist() == [[2]]


def test_of_masks_without_a_pixel_the_one_that_leans_to_the_target_is_best():
    target = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    target[..., :2] = 1
    logits = torch.full((1, 3, 4, 4), -6.0)
    logits[:, 2, :, :2] = -1.0
    assert best_true(logits, target).tolist() == [[2]]
    assert best_true(logits, torch.zeros_like(target)).item() in (0, 1)  # and for an empty target the emptiest


@pytest.mark.parametrize("multimask", ["best_predicted", "best_true"])
def test_only_the_chosen_mask_is_trained_but_the_iou_of_all(multimask):
    model = several(True)
    heard = Listening(model)
    task = Promptable(model=model, criterion=with_iou_head(), multimask=multimask, first=PROMPTED)
    report = task(batch())
    (answer,) = heard.answers
    answer.logits.retain_grad()
    predicted = torch.autograd.grad(report.total, answer.predicted_iou, retain_graph=True)[0]
    assert (predicted != 0).all()
    masks = torch.autograd.grad(report.total, answer.logits)[0].abs().sum((2, 3)) > 0
    assert (masks.sum(1) == 1).all()
    if multimask == "best_predicted":
        assert torch.equal(masks.int().argmax(1), answer.predicted_iou.argmax(1))


def test_the_loss_of_several_masks_is_that_of_the_chosen_one_and_the_mean_error_of_all_predicted_ious():
    torch.manual_seed(0)
    logits, predicted = torch.randn(4, 3, 32, 32), torch.rand(4, 3)
    target = batch().target
    report = with_iou_head()(logits[:, :1], target, predicted, candidates=logits)
    alone = criterion()(logits[:, :1], target)
    each = [IoUHeadLoss()(logits[:, i : i + 1], target, predicted[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(report.terms["iou_head"], torch.stack(each).mean())
    torch.testing.assert_close(report.total, alone.total + report.terms["iou_head"])


@pytest.mark.parametrize(
    ("model", "multimask", "words"),
    [
        (tiny(), "best", "task.multimask single, best_predicted"),
        (tiny(), "best_true", "gives several masks"),
        (several(True), "best_true", "loss=sam_med2d"),
        (several(), "best_true", "model.multimask=true for"),
        (several(True), "single", "model.multimask=false for task.multimask=single"),
    ],
)
def test_masks_that_the_model_or_the_loss_cannot_train_are_refused(model, multimask, words):
    with pytest.raises(ValueError, match=words):
        Promptable(model=model, criterion=criterion(), multimask=multimask)


def test_one_iou_of_a_whole_batch_cannot_choose_among_masks():
    of_batch = criterion(iou_head=IoUHeadLoss(True))
    with pytest.raises(ValueError, match="soft_batch=false"):
        Promptable(model=several(True), criterion=of_batch, multimask="best_true")
