"""Which structures get a prompt."""

import pytest
import torch

from segfocal.tasks.prompted_structures import draw_structures


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
    index = draw_structures(target_with(*present), many, draws(4))
    assert index.shape == (4, many)
    for own, row in zip(present, index.tolist(), strict=True):
        pool = own or (0, 1, 2, 3)
        assert set(row) <= set(pool)
        counts = [row.count(k) for k in pool]
        assert max(counts) - min(counts) <= 1


def test_every_structure_that_is_present_is_as_likely():
    index = draw_structures(target_with((0, 2, 3)).expand(3000, -1, -1, -1), 1, draws(3000))
    assert sorted(set(index[:, 0].tolist())) == [0, 2, 3]
    assert (index[:, 0].bincount()[[0, 2, 3]] > 890).all()  # 1000 expected, standard deviation 26
