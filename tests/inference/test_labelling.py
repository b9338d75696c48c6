"""Label values of logits: those of one maximum over all structures, bit for bit, at any size of the scan's pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.inference import labelling
from segfocal.inference.labelling import label_slab, labels_of
from segfocal.inference.sliding.sweep import Slab
from segfocal.resample import resized
from segfocal.structure import Structure


def structures_of(values, overlaps=False):
    return tuple(Structure(name=str(value), value=value, overlaps=overlaps) for value in values)


def by_one_maximum(logits, values):
    """Return label values [n,h,w] of logits [n,k,h,w] by torch's maximum over the channels."""
    top, channel = logits.max(dim=1)
    return np.array([0, *values])[torch.where(top > 0, channel + 1, 0).numpy()]


def test_the_largest_logit_above_0_counts_and_of_equal_ones_the_first():
    nan = float("nan")
    logits = torch.tensor([[-1.0, 2.0, 0.0, 3.0, nan, 5.0, 0.0], [-2.0, 1.0, 0.5, 3.0, 9.0, nan, 0.0]])
    found = labels_of([one.reshape(1, 1, 7) for one in logits], structures_of((4, 300)))
    assert found.ravel().tolist() == [0, 4, 300, 4, 0, 0, 0]


def test_of_structures_that_overlap_the_values_are_summed():
    logits = torch.tensor([[-1.0, 2.0, 0.0, 3.0], [-2.0, 1.0, 0.5, 3.0], [1.0, -1.0, 0.0, 7.0]])
    found = labels_of([one.reshape(1, 2, 2) for one in logits], structures_of((1, 2, 256), overlaps=True))
    assert found.ravel().tolist() == [256, 3, 2, 259]


@given(
    seed=st.integers(0, 1000),
    values=st.lists(st.integers(1, 400), min_size=1, max_size=5, unique=True),
    depth=st.integers(1, 3),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    wanted=st.tuples(st.integers(1, 29), st.integers(1, 29)),
    shift=st.floats(-3, 1),
    half=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_labels_are_those_of_one_maximum_over_all_resized_logits(seed, values, depth, size, wanted, shift, half):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(values), depth + 1, *size, generator=generator) + shift  # some are nowhere above 0
    logits = logits.to(torch.float16 if half else torch.float32)[:, 1:]  # a view, as slabs are
    labels = np.zeros((depth + 2, *wanted), np.uint16)
    label_slab(Slab(1, depth + 1, logits), labels, structures_of(values))
    expected = by_one_maximum(resized(logits.transpose(0, 1).float(), wanted), values)
    np.testing.assert_array_equal(labels[1:-1], expected)
    assert not labels[0].any()
    assert not labels[-1].any()


def test_who_watches_sees_all_logits_and_changes_no_label():
    logits = torch.randn(3, 5, 8, 7, generator=torch.Generator().manual_seed(0)) - 1
    logits[1] = -1.0
    shown, structures = [], structures_of((2, 3, 5))
    labels, watched = np.zeros((5, 11, 9), np.uint8), np.zeros((5, 11, 9), np.uint8)
    label_slab(Slab(0, 5, logits), labels, structures)
    label_slab(Slab(0, 5, logits), watched, structures, watch=lambda start, part: shown.append((start, part)))
    np.testing.assert_array_equal(labels, watched)
    assert labels.any()
    assert [start for start, _ in shown] == [0]
    torch.testing.assert_close(shown[0][1], resized(logits.transpose(0, 1), (11, 9)), rtol=0, atol=0)


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_structure_that_is_nowhere_is_not_resized(monkeypatch, overlaps):
    asked, logits = [], torch.full((4, 2, 6, 6), -1.0)
    logits[2, 1, 3, 3] = 9.0
    monkeypatch.setattr(labelling, "resized", lambda part, size: asked.append(tuple(part.shape)) or resized(part, size))
    labels = np.zeros((2, 12, 12), np.uint8)
    label_slab(Slab(0, 2, logits), labels, structures_of((1, 2, 4, 8), overlaps))
    assert asked == [(2, 1, 6, 6)]
    assert set(np.unique(labels)) == {0, 4}
