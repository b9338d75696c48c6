"""Steady norms: the same network in real numbers, closer to torch where sums of air are rounded."""

import pytest
import torch
from torch import nn

from segfocal import models
from segfocal.models.engines.steady_norms import SteadyNorm, steadier


def norm_of(axes, affine, groups=None):
    torch.manual_seed(0)
    instance = nn.InstanceNorm2d if axes == 2 else nn.InstanceNorm3d
    norm = nn.GroupNorm(groups, 6, affine=affine) if groups else instance(6, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


@torch.no_grad()
@pytest.mark.parametrize("level", [None, torch.tensor([4.0, 5.0, -1.0, 0.0, 2.0, 5.5])])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [None, 1, 3, 6])
@pytest.mark.parametrize("axes", [2, 3])
def test_a_steady_norm_is_the_norm(axes, groups, affine, level):
    dtype, within = (torch.float64, 1e-9) if affine else (torch.float32, 1e-3)
    norm = norm_of(axes, affine, groups).to(dtype)
    x = 5 + torch.rand(2, 6, *(7, 16, 5)[:axes], dtype=dtype)
    x[:, ::2] *= 3  # channels of a group have means and spreads of their own
    steady = SteadyNorm(norm, None if level is None else level.to(dtype))
    torch.testing.assert_close(steady(x), norm(x), rtol=within, atol=within)


@torch.no_grad()
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("axes", [2, 3])
def test_in_float32_a_steady_norm_of_air_with_a_speck_is_that_of_float64(axes, groups):
    """Without taking the level away, the variance of 5e-5 would be what is left of 1e4 twice."""
    norm, sides = norm_of(axes, True, groups), (128, 128) if axes == 2 else (24, 24, 24)
    x = torch.full((1, 6, *sides), 100.0)
    x[..., 3] += 0.05 * torch.rand(x[..., 3].shape, generator=torch.Generator().manual_seed(1))
    exact = norm_of(axes, True, groups).double()(x.double()).float()
    for level in (None, torch.full((6,), 100.0)):
        torch.testing.assert_close(SteadyNorm(norm, level)(x), exact, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_channel_of_one_value_is_its_bias():
    norm = norm_of(2, affine=True)
    x = torch.full((1, 6, 16, 16), 1234.567)
    found = SteadyNorm(norm, torch.zeros(6))(x)
    assert found.isfinite().all()
    torch.testing.assert_close(SteadyNorm(norm)(x), norm.bias.reshape(1, 6, 1, 1).expand_as(x))


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_with_steady_norms_answers_as_the_network(dims):
    torch.manual_seed(0)
    network = models.UNet(dims=dims, widths=(4, 4, 8)).eval().double()
    image = torch.rand(2, 1, *(8, 16, 12)[:dims], dtype=torch.float64)
    plain, steady = steadier(network, (torch.zeros_like(image[:1]),))
    assert plain is network
    torch.testing.assert_close(steady(image), network(image), rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_levels_are_those_of_air_but_the_first_norms_which_sees_the_image():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2), nn.Conv2d(2, 3, 1), nn.InstanceNorm2d(3)
    )
    *_, steady = steadier(network, (torch.zeros(1, 1, 8, 8),))
    assert steady[1].level is None
    middle = network[:3](torch.zeros(1, 1, 8, 8))[0, :, 4, 4]
    torch.testing.assert_close(steady[3].level.flatten(), middle)


@torch.no_grad()
def test_steady_group_norms_come_first_as_they_are_the_fastest():
    torch.manual_seed(0)
    groups = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
    steady, plain = steadier(groups, (torch.zeros(1, 1, 8, 8),))
    assert isinstance(steady[1], SteadyNorm)
    assert plain is groups
    both = nn.Sequential(*groups, nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4))
    some, all_steady = steadier(both, (torch.zeros(1, 1, 8, 8),))
    assert [isinstance(layer, SteadyNorm) for layer in some] == [False, True, False, False]
    assert [isinstance(layer, SteadyNorm) for layer in all_steady] == [False, True, False, True]
    image = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(all_steady(image), both(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(2), nn.InstanceNorm2d(2, track_running_stats=True), nn.Identity()])
def test_a_network_without_such_norms_is_itself_alone(norm):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), norm).eval()
    assert [one is network for one in steadier(network, (torch.zeros(1, 1, 8, 8),))] == [True]


def test_norms_of_tokens_stay_as_they_are():
    network = nn.Sequential(nn.GroupNorm(2, 4))
    assert [one is network for one in steadier(network, (torch.zeros(1, 4, 9),))] == [True]
