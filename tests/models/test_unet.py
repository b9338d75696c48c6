"""`unet`, and the list of models that a bundle may ask for."""

import pytest
import torch
from monai.networks.nets.dynunet import DynUNet

from segfocal import models


@pytest.mark.parametrize("target", ["os.system", "segfocal.models.build", None, "builtins.eval"])
def test_only_listed_models_are_built(target):
    with pytest.raises(ValueError, match="expected a model of"):
        models.build({"_target_": target, "command": "true"})


def test_unet_gives_one_channel_a_class():
    unet = models.build({"_target_": "segfocal.models.UNet", "classes": 3, "widths": [8, 16, 16]})
    assert unet(torch.rand(2, 1, 32, 48)).shape == (2, 3, 32, 48)


def pair(dims):
    """Return a small U-Net and MONAI's network of the same weights, with norms that change something."""
    torch.manual_seed(0)
    ours = models.UNet(dims=dims, widths=[8, 16, 24], classes=2)
    theirs = DynUNet(dims, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[8, 16, 24])
    for name, parameter in ours.network.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    theirs.load_state_dict(ours.network.state_dict())
    return ours, theirs


def half_air(dims):
    image = torch.rand(2, 1, *[32, 24, 16][:dims], generator=torch.Generator().manual_seed(1))
    image[:, :, : image.shape[2] // 2] = 0.0  # of one value, as half of many windows is
    return image


@pytest.mark.parametrize(
    ("dims", "memory"),
    [(2, torch.contiguous_format), (2, torch.channels_last), (3, torch.contiguous_format), (3, torch.channels_last_3d)],
)
def test_a_unet_is_trained_as_monais(dims, memory):
    ours, theirs = pair(dims)
    ours.to(memory_format=memory)
    image, found = half_air(dims), []
    for network, given in ((ours, image), (theirs, (image - ours.pixel_mean) / ours.pixel_std)):
        logits = network.train()(given)
        direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
        (logits * direction).sum().backward()
        found.append([logits, *[parameter.grad for parameter in network.parameters()]])
    for our, their in zip(*found, strict=True):
        scale = their.abs().max().item()
        torch.testing.assert_close(our, their, rtol=0, atol=1e-4 * scale)  # float32 sums in another order


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_a_trained_unet_answers_exactly_as_monais(dims):
    ours, theirs = pair(dims)
    image = half_air(dims)
    assert torch.equal(ours.eval()(image), theirs.eval()((image - ours.pixel_mean) / ours.pixel_std))


def test_a_window_of_which_a_single_pixel_is_left_is_not_trained():
    unet = models.UNet(widths=[8, 16, 24])
    with pytest.raises(ValueError, match="1 spatial element"):
        unet.train()(torch.rand(2, 1, 4, 4))
