"""A sam_tiny of the smallest size that decodes."""

import pytest
import torch

from segfocal import models


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return models.sam_tiny(image_size=32, width=48, heads=6, decoder_width=32).eval()
