"""`unet`, and the list of models that a bundle may ask for."""

import subprocess
import sys

import pytest
import torch
from monai.networks.nets.dynunet import DynUNet

from segfocal import models
from tests import ROOT


@pytest.mark.parametrize("target", ["os.system", "segfocal.models.build", None, "builtins.eval"])
def test_only_listed_models_are_built(target):
    with pytest.raises(ValueError, match="expected a model of"):
        models.build({"_target_": target, "command": "true"})


def test_unet_gives_one_channel_a_class():
    unet = models.build({"_target_": "segfocal.models.UNet", "classes": 3, "widths": [8, 16, 16]})
    assert unet(torch.rand(2, 1, 32, 48)).shape == (2, 3, 32, 48)


def monais_unet(*, dims, channels, classes, widths):
    """Return MONAI's network of the same sizes."""
    return DynUNet(
        spatial_dims=dims,
        in_channels=channels,
        out_channels=classes,
        kernel_size=[3] * len(widths),
        strides=[1] + [2] * (len(widths) - 1),
        upsample_kernel_size=[2] * (len(widths) - 1),
        filters=list(widths),
    )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", [(4, 6, 8), (3, 4, 6, 8, 10)])
def test_unet_is_monais_to_the_last_bit(dims, widths):
    sizes = {"dims": dims, "channels": 2, "classes": 3, "widths": widths}
    torch.manual_seed(5)
    theirs, theirs_next = monais_unet(**sizes), torch.rand(3)
    torch.manual_seed(5)
    ours, ours_next = models.UNet(**sizes).network, torch.rand(3)
    assert torch.equal(ours_next, theirs_next)  # as many random numbers were drawn
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert all(torch.equal(own, theirs.state_dict()[name]) for name, own in ours.state_dict().items())
    image = torch.rand(2, 2, *(2 ** len(widths) + 2 ** (len(widths) - 1), 2 ** len(widths), 2 ** len(widths))[:dims])
    answers = [network.train()(image) for network in (ours, theirs)]
    assert torch.equal(*answers)
    for answer in answers:
        answer.square().mean().backward()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)


def test_no_command_waits_for_monai():
    code = "import sys; from segfocal import models; models.UNet(); assert 'monai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
