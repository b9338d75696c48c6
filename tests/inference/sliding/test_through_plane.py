"""Slabs of logits come to a scan's slices as the whole volume does."""

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.inference.sliding.sweep import Slab
from segfocal.inference.sliding.through_plane import at_depth
from segfocal.resample import resize_volume


@given(
    now=st.integers(1, 30),
    wanted=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_slabs_come_to_a_scans_slices_as_the_whole_does(now, wanted, cuts):
    logits = torch.randn(2, now, 3, 4, generator=torch.Generator().manual_seed(now))
    edges = sorted({0, now, *[min(c, now) for c in cuts]})
    slabs = [Slab(low, high, logits[:, low:high]) for low, high in itertools.pairwise(edges)]
    made = list(at_depth(iter(slabs), now=now, wanted=wanted))
    assert [slab.start for slab in made] == [0, *[slab.stop for slab in made][:-1]]
    assert made[-1].stop == wanted
    expected = np.stack([resize_volume(part.numpy(), (wanted, 3, 4)) for part in logits])
    np.testing.assert_allclose(torch.cat([slab.logits for slab in made], 1).numpy(), expected, atol=1e-5)
