"""Which of several masks is trained."""

import torch

from segfocal.tasks.multimask import best_true


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
