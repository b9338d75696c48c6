"""`unet`, and the list of models that a bundle may ask for."""

import pytest
import torch

from segfocal import models


@pytest.mark.parametrize("target", ["os.system", "segfocal.models.build", None, "builtins.eval"])
def test_only_listed_models_are_built(target):
    with pytest.raises(ValueError, match="expected a model of"):
        models.build({"_target_": target, "command": "true"})


def test_unet_gives_one_channel_a_class():
    unet = models.build({"_target_": "segfocal.models.UNet", "classes": 3, "widths": [8, 16, 16]})
    assert unet(torch.rand(2, 1, 32, 48)).shape == (2, 3, 32, 48)
