"""Where windows stand: coverage, partition of unity, and MONAI's positions as independent oracle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices

from segfocal.inference.sliding.windows import WindowOverlap, plan_axis


@given(size=st.integers(1, 90), length=st.integers(1, 90), overlap=st.floats(0, 0.95), gaussian=st.booleans())
@settings(max_examples=200, deadline=None)
def test_weights_of_all_windows_sum_to_one_at_every_index(size, length, overlap, gaussian):
    length = min(size, length)
    axis = plan_axis(size, length, WindowOverlap(share=overlap, weighting="gaussian" if gaussian else "constant"))
    total = torch.zeros(size)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + length] += weights
    torch.testing.assert_close(total, torch.ones(size), rtol=0, atol=1e-6)  # float32 rounding of a few addends


@pytest.mark.parametrize(("size", "length", "overlap"), [(167, 128, 0.5), (50, 16, 0.25), (31, 31, 0.5), (97, 20, 0.7)])
def test_windows_stand_where_monai_puts_them(size, length, overlap):
    theirs = [s[0].start for s in dense_patch_slices((size,), (length,), (max(1, int(length * (1 - overlap))),))]
    assert list(plan_axis(size, length, WindowOverlap(share=overlap)).starts) == theirs


@pytest.mark.parametrize(("size", "length", "overlap"), [(10, 11, 0.5), (10, 0, 0.5), (10, 5, 1.0), (10, 5, -0.1)])
def test_impossible_plans_are_refused(size, length, overlap):
    with pytest.raises(ValueError, match="expected"):
        plan_axis(size, length, WindowOverlap(share=overlap))
