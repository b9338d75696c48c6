"""Which structures prompts ask for, and which of several masks counts."""

import pytest
import torch

from segfocal.tasks.asked_structures import best_true, drawn_structures


def target_with(*present, structures=4):
    """Return one image for each tuple of structures that it has."""
    target = torch.zeros(len(present), structures, 6, 6, dtype=torch.uint8)
    for image, own in zip(target, present, strict=True):
        for k in own:
            image[k, k, k] = 1
    return target


def draws(rows, structures=4, seed=0):
    return torch.rand(rows, structures, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("many", [1, 2, 3, 5, 7])
def test_structures_are_drawn_from_those_present_each_before_any_twice(many):
    present = [(0, 1, 2, 3), (1, 3), (2,), ()]
    index = drawn_structures(target_with(*present), many, draws(4))
    assert index.shape == (4, many)
    for own, row in zip(present, index.tolist(), strict=True):
        pool = own or (0, 1, 2, 3)
        assert set(row) <= set(pool)
        counts = [row.count(k) for k in pool]
        assert max(counts) - min(counts) <= 1


def test_every_structure_that_is_present_is_as_likely():
    index = drawn_structures(target_with((0, 2, 3)).expand(3000, -1, -1, -1), 1, draws(3000))
    assert sorted(set(index[:, 0].tolist())) == [0, 2, 3]
    assert (index[:, 0].bincount()[[0, 2, 3]] > 890).all()  # 1000 expected, standard deviation 26


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
