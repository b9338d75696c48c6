"""The state of a small SAM, and a file of it."""

import pytest
import torch

from tests.models.weights.small_sam import small


@pytest.fixture(scope="module")
def stock():
    """The state of a small stock SAM of 64×64 pixels, all of it random."""
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(t.shape, generator=generator) for name, t in small(64).state_dict().items()}


@pytest.fixture
def stock_file(stock, tmp_path):
    torch.save(stock, tmp_path / "stock.pth")
    return tmp_path / "stock.pth"
