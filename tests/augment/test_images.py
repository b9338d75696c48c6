"""Operations on pixels against torch's own, and against their formula."""

import pytest
import torch
from torch.nn import functional as F

from segfocal.augment.images import interpolated

SIZES = [((5, 5), (128, 128)), ((4, 4), (37, 45)), ((5, 4), (9, 160)), ((4, 5), (1, 2))]


@pytest.mark.parametrize(("knots", "size"), SIZES)
def test_smooth_fields_are_those_of_torch(knots, size):
    coarse = torch.randn(3, 2, *knots, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)
    found = interpolated(coarse, size)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)  # float32: sums of 16 products in another order
    assert found.is_contiguous()  # the augmentation goes on in place


def keys_cubic(distance, a=-0.75):
    """Return Keys's cubic convolution kernel, IEEE TASSP 1981, eq. 4, with torch's a."""
    x = distance.abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def test_a_smooth_line_is_the_cubic_convolution_of_its_knots_with_the_ends_repeated():
    knots = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64)
    places = torch.linspace(0, 3, 29, dtype=torch.float64)
    repeated = knots[torch.arange(-2, 6).clamp(0, 3)]
    expected = (keys_cubic(places[:, None] - torch.arange(-2, 6)) * repeated).sum(1)
    line = interpolated(knots.float().reshape(1, 1, 1, 4).expand(1, 1, 4, 4), (5, 29))[0, 0]
    for row in line:  # alike in each row, as the knots are
        torch.testing.assert_close(row.double(), expected, rtol=0, atol=2e-6)
