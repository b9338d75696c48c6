"""Merged upsampling is the same network in real numbers, and is left alone where it would not be."""

import pytest
import torch
from monai.networks.nets import DynUNet, SegResNet

from segfocal import models
from segfocal.models.engines.merged_upsampling import MergedUp, merged


def dyn_unet(dims, *, kernels=3, strides=2, **more):
    torch.manual_seed(0)
    return (
        DynUNet(
            spatial_dims=dims,
            in_channels=2,
            out_channels=3,
            kernel_size=[kernels] * 3,
            strides=[1, strides, strides],
            upsample_kernel_size=[strides, strides],
            filters=[4, 6, 8],
            **more,
        )
        .eval()
        .double()
    )


def merged_ups(network):
    return [block for block in network.modules() if isinstance(block, MergedUp)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("dims", "options"),
    [
        (2, {}),
        (3, {}),
        (3, {"kernels": (1, 3, 3), "strides": (1, 2, 2)}),  # nnU-Net's of thick slices
        (3, {"strides": (1, 2, 2)}),
        (2, {"kernels": 5}),
        (2, {"strides": 4}),
        (2, {"norm_name": "batch", "act_name": "relu"}),
    ],
)
def test_a_merged_network_answers_as_the_network(dims, options):
    network = dyn_unet(dims, **options)
    image = torch.randn(2, 2, *(16, 48, 32)[-dims:], dtype=torch.float64)
    found = merged(network)
    assert len(merged_ups(found)) == 2
    torch.testing.assert_close(found(image), network(image), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_our_u_net_is_merged_at_every_level_and_stays_as_it_was(dims):
    torch.manual_seed(0)
    network = models.UNet(dims=dims, widths=(4, 4, 8)).eval().double()
    image = torch.rand(1, 1, *(8, 16, 12)[:dims], dtype=torch.float64)
    before = network(image)
    found = merged(network)
    assert len(merged_ups(found)) == 2
    assert not merged_ups(network)
    torch.testing.assert_close(found(image), before, rtol=1e-9, atol=1e-9)
    assert torch.equal(network(image), before)


@pytest.mark.parametrize(
    "network",
    [
        dyn_unet(2, trans_bias=True),  # its edge would be padded with zeros only once
        dyn_unet(2, dropout=0.5),  # lies between
        dyn_unet(2, strides=1),  # would be more work
        SegResNet(spatial_dims=2, init_filters=8),
        torch.nn.Conv2d(1, 1, 3),
    ],
)
def test_another_network_is_returned_as_it_is(network):
    assert merged(network) is network
