"""A small SAM whose weights the tests of weight files save, damage and load, and helpers to look at the outcome."""

import pytest
import torch

from segfocal.errors import UserError
from segfocal.models.sam.architecture import Architecture, build_sam
from segfocal.models.sam.sam_options import SamOptions

SMALL = Architecture(
    width=32, depth=2, heads=2, global_blocks=(1,), window=3, decoder_width=16, decoder_mlp=32, mask_channels=4,
    iou_width=16,
)  # fmt: skip


def small(image_size=32, **options):
    return build_sam(SMALL, SamOptions(image_size=image_size, **options))


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options)


def refusal(call, *arguments, **options):
    """Return the one line with which a call refuses."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
