"""Connected components and distances."""

import pytest
import torch

from segfocal.prompts import boxes_of, component_of, depth_of
from tests.prompts.masks import blobs, generator, mask


def test_depth_is_the_distance_to_the_nearest_pixel_outside_which_beyond_the_image_is():
    region = torch.zeros(1, 4, 5, dtype=torch.bool)
    region[0, :3, :3] = True
    assert depth_of(region)[0].tolist() == [[1, 1, 1, 0, 0], [1, 2, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def brute_depth(region):
    padded = torch.nn.functional.pad(region, (1, 1, 1, 1))
    outside = (~padded).nonzero().double()
    depth = torch.zeros(region.shape)
    for y, x in region.nonzero().tolist():
        depth[y, x] = (outside - torch.tensor([y + 1.0, x + 1.0])).square().sum(1).min().sqrt()
    return depth


def test_depth_equals_that_of_all_pairs_of_pixels():
    region = blobs(size=(11, 13))
    for one, depth in zip(region, depth_of(region), strict=True):
        torch.testing.assert_close(depth, brute_depth(one))


@pytest.mark.parametrize("which", ["largest", "random"])
def test_a_component_is_a_connected_part_of_its_mask_that_nothing_touches(which):
    region = blobs()
    part = component_of(region, torch.rand(6, generator=generator()), which=which)
    assert (region | ~part).all()
    near = torch.nn.functional.max_pool2d(part[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    assert not (near & region & ~part).any()
    assert part[:-1].flatten(1).any(1).all()
    assert not part[-1].any()


def test_the_largest_component_is_the_largest_and_random_ones_are_equally_likely():
    one = mask((1, 1), (4, 4), (4, 5), (5, 6), (1, 8))[:, 0] > 0  # the three in the middle touch, two by a corner
    largest = component_of(one, torch.zeros(1), which="largest")
    assert boxes_of(largest[:, None]).tolist() == [[4, 4, 7, 6]]
    draws = torch.rand(900, generator=generator())
    drawn = component_of(one.expand(900, -1, -1), draws, which="random")
    _, counts = boxes_of(drawn[:, None]).unique(dim=0, return_counts=True)
    assert len(counts) == 3
    assert (counts > 250).all()  # 300 expected, standard deviation 14


def test_the_box_of_a_component_contains_it_and_lies_in_that_of_the_target():
    region = blobs()[:-1]
    part = component_of(region, torch.rand(5, generator=generator()), which="random")
    inner, outer = boxes_of(part[:, None]), boxes_of(region[:, None])
    assert (inner[:, :2] >= outer[:, :2]).all()
    assert (inner[:, 2:] <= outer[:, 2:]).all()
    for one, (x0, y0, x1, y1) in zip(part, inner.int().tolist(), strict=True):
        assert one[y0:y1, x0:x1].sum() == one.sum()
