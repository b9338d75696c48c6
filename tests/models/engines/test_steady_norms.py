"""Remedied norms: the same network in real numbers, closer to torch where sums of air are rounded."""

import pytest
import torch
from torch import nn

from segfocal import models
from segfocal.models.engines.steady_norms import FlatNorm, PooledNorm, steadier


def norm_of(axes, affine):
    torch.manual_seed(0)
    norm = (nn.InstanceNorm2d if axes == 2 else nn.InstanceNorm3d)(3, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.double()


@torch.no_grad()
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("remedy", [FlatNorm, PooledNorm])
def test_a_remedied_norm_is_the_norm(remedy, axes, affine):
    norm = norm_of(axes, affine)
    x = 5 + torch.rand(2, 3, *(7, 9, 5)[:axes], dtype=torch.float64)
    torch.testing.assert_close(remedy(norm)(x), norm(x), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_each_remedied_network_answers_as_the_network(dims):
    torch.manual_seed(0)
    network = models.UNet(dims=dims, widths=(4, 4, 8)).eval().double()
    image = torch.rand(2, 1, *(8, 16, 12)[:dims], dtype=torch.float64)
    found = list(steadier(network))
    assert len(found) == 3
    assert found[0] is network
    for remedied in found[1:]:
        torch.testing.assert_close(remedied(image), network(image), rtol=1e-7, atol=1e-7)


def test_a_network_without_instance_norms_has_no_remedy():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(2, 2))
    assert [one is network for one in steadier(network)] == [True]
