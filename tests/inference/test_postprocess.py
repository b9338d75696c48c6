"""Post-processing: what it may never do, on random masks, and what it does, on small ones drawn by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segfocal.grid import Grid, Volume
from segfocal.inference import postprocess
from segfocal.inference.postprocess import PostprocessRules, clean, describe, holes, read_rules
from segfocal.structure import Structure

EVERYWHERE = np.ones((3, 3, 3))
RULES = st.builds(
    PostprocessRules,
    largest=st.booleans(),
    minimum_mm3=st.sampled_from([0.0, 2.0, 5.0, 12.0]),
    minimum_share=st.sampled_from([0.0, 0.2, 0.6]),
    holes_mm3=st.sampled_from([0.0, 1.0, 3.0, 40.0]),
)
# Few distinct values in small arrays: components of equal size, nested structures and holes all come up.
MASKS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.sampled_from([0, 0, 1, 1, 1, 2]),
)


def volume(array, spacing_mm=(1.0, 1.0, 1.0)):
    return Volume(array=np.asarray(array), grid=Grid(shape=array.shape, affine=np.diag([*spacing_mm, 1.0])))


def cleaned(array, rules, **options):
    return clean(volume(array, **options), rules).array


@given(array=MASKS, one=RULES, two=RULES)
@settings(max_examples=150, deadline=None)
def test_voxels_appear_only_in_holes_and_no_structure_takes_another_ones(array, one, two):
    before = array.copy()
    after = cleaned(array, {1: one, 2: two})
    assert np.array_equal(array, before)
    assert after.dtype == array.dtype
    cut = cleaned(array, {1: replace(one, holes_mm3=0), 2: replace(two, holes_mm3=0)})
    assert not ((cut > 0) & (cut != array)).any()
    assert not ((cut > 0) & (after > 0) & (cut != after)).any()
    for value, rules in ((1, one), (2, two)):
        gained = (after == value) & (cut != value)
        closed = ndimage.binary_fill_holes(np.pad(after == value, 1))[1:-1, 1:-1, 1:-1]
        assert not gained.any() or rules.holes_mm3
        if min(array.shape) > 1:  # scipy's border is the array's, ours none along an axis of one voxel
            assert not (gained & ~closed).any()


@given(array=MASKS, one=RULES, two=RULES)
@settings(max_examples=150, deadline=None)
def test_twice_is_once(array, one, two):
    once = cleaned(array, {1: one, 2: two})
    assert np.array_equal(cleaned(once, {1: one, 2: two}), once)


@given(
    array=MASKS,
    one=RULES,
    two=RULES,
    axes=st.permutations([0, 1, 2]),
    flips=st.sets(st.sampled_from([0, 1, 2])),
)
@settings(max_examples=100, deadline=None)
def test_turning_the_scan_turns_the_result(array, one, two, axes, flips):
    rules, backwards = {1: one, 2: two}, {2: two, 1: one}
    turned = np.flip(array.transpose(axes), tuple(flips))
    expected = np.flip(cleaned(array, rules).transpose(axes), tuple(flips))
    assert np.array_equal(cleaned(turned, backwards), expected)


@given(array=MASKS)
@settings(max_examples=100, deadline=None)
def test_components_are_scipys_with_26_neighbours(array):
    _, count = ndimage.label(array == 1, structure=EVERYWHERE)
    found = postprocess.pieces(array, 1)
    assert (0 if found is None else len(found.voxels)) == count
    assert found is None or found.voxels.sum() == (array == 1).sum()


@given(array=MASKS)
@settings(max_examples=100, deadline=None)
def test_holes_are_background_with_six_neighbours_inside_one_structure(array):
    index, count = ndimage.label(array == 0)
    expected = 0
    padded = np.pad(array, [(0, 0) if size == 1 else (1, 1) for size in array.shape], constant_values=9)
    for number in range(1, count + 1):
        part = index == number
        whole = np.pad(part, [(0, 0) if size == 1 else (1, 1) for size in array.shape])
        around = ndimage.binary_dilation(whole) & ~whole
        expected += int(part.sum()) if set(np.unique(padded[around])) == {1} else 0
    found = holes(array, 1)
    assert (0 if found is None else int(found.voxels.sum())) == expected


def pieces():
    """Return a map with components of 8, 4 and 1 voxels of structure 3."""
    array = np.zeros((9, 9, 9), np.uint8)
    array[1:3, 1:3, 1:3] = array[5:7, 5:7, 5] = array[8, 8, 8] = 3
    return array


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (PostprocessRules(), 13),
        (PostprocessRules(largest=True), 8),
        (PostprocessRules(minimum_mm3=2), 12),
        (PostprocessRules(minimum_mm3=4), 12),
        (PostprocessRules(minimum_mm3=5), 8),
        (PostprocessRules(minimum_mm3=9), 0),
        (PostprocessRules(minimum_share=0.5), 12),
        (PostprocessRules(minimum_share=0.51), 8),
    ],
)
def test_small_components_go(rules, left):
    assert (cleaned(pieces(), {3: rules}) == 3).sum() == left
    assert (cleaned(pieces(), {2: rules}) == 3).sum() == 13


def test_volumes_are_in_mm3():
    rules = {3: PostprocessRules(minimum_mm3=5)}
    assert (cleaned(pieces(), rules, spacing_mm=(0.5, 0.5, 2.0)) == 3).sum() == 0  # 8 voxels of 0.5 mm³
    assert (cleaned(pieces(), rules, spacing_mm=(1.0, 1.0, 1.25)) == 3).sum() == 12
    assert (cleaned(pieces(), rules, spacing_mm=(5.0, 1.0, 1.0)) == 3).sum() == 13
    shell = np.ones((3, 3, 3), np.uint8)
    shell[1, 1, 1] = 0
    for side_mm, filled in ((1.0, True), (2.0, False)):  # a hole of 1 or 8 mm³
        after = cleaned(shell, {1: PostprocessRules(holes_mm3=5)}, spacing_mm=(side_mm,) * 3)
        assert (after[1, 1, 1] == 1) == filled


def test_a_sheared_grid_has_the_volume_of_its_cells():
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[0, 1] = 3.0
    labels = Volume(array=pieces(), grid=Grid(shape=(9, 9, 9), affine=affine))
    assert (clean(labels, {3: PostprocessRules(minimum_mm3=8)}).array == 3).sum() == 12


def test_components_touch_by_corners_and_holes_leak_by_faces_only():
    array = np.ones((4, 4, 4), np.uint8)
    array[1, 1, 1] = array[0, 0, 0] = 0  # the hole meets the outside at a corner, which does not open it
    assert cleaned(array, {1: PostprocessRules(holes_mm3=9)})[1, 1, 1] == 1
    array[0, 1, 1] = 0
    assert cleaned(array, {1: PostprocessRules(holes_mm3=9)})[1, 1, 1] == 0
    diagonal = np.zeros((3, 3, 3), np.uint8)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = diagonal[2, 2, 2] = 1
    assert cleaned(diagonal, {1: PostprocessRules(minimum_mm3=3)}).sum() == 3


def test_another_structure_inside_stays_and_the_gap_around_it_is_nobodys():
    array = np.ones((7, 7, 7), np.uint8)
    array[2:5, 2:5, 2:5] = 2
    array[2, 3, 3] = 0  # between 1 and 2
    array[3, 3, 3] = 0  # and from there into 2
    array[4, 4, 4] = 2
    both = {1: PostprocessRules(holes_mm3=99, largest=True), 2: PostprocessRules(holes_mm3=99, largest=True)}
    assert np.array_equal(cleaned(array, both), array)
    array[2, 3, 3] = 2
    assert cleaned(array, both)[3, 3, 3] == 2


def test_the_space_of_a_removed_speck_is_filled_by_what_surrounds_it():
    array = np.ones((5, 5, 5), np.uint8)
    array[2, 2, 2] = 2
    assert (cleaned(array, {1: PostprocessRules(holes_mm3=1), 2: PostprocessRules(minimum_mm3=2)}) == 1).all()


def test_the_holes_of_a_picture_are_those_of_its_plane():
    ring = np.ones((5, 5, 1), np.uint8)
    ring[2, 2] = 0
    for axes in itertools.permutations(range(3)):
        assert cleaned(ring.transpose(axes), {1: PostprocessRules(holes_mm3=1)}).all()


def test_components_equally_large_all_stay():
    array = np.zeros((5, 3, 3), np.uint8)
    array[0] = array[4] = 1
    assert np.array_equal(cleaned(array, {1: PostprocessRules(largest=True)}), array)


def test_rules_survive_json_and_wrong_ones_are_refused():
    structures = (Structure(name="liver", value=5),)
    rules = {"liver": PostprocessRules(largest=True, holes_mm3=100.0)}
    assert read_rules(describe(rules), structures) == rules
    with pytest.raises(ValueError, match="spleen"):
        read_rules({"spleen": {}}, structures)
    with pytest.raises(TypeError):
        read_rules({"liver": {"smooth": True}}, structures)
    for wrong in (
        {"minimum_share": 1.0},
        {"minimum_share": True},
        {"minimum_mm3": -1},
        {"holes_mm3": float("inf")},
        {"largest": 1},
        {"minimum_mm3": "many"},
    ):
        with pytest.raises(ValueError, match="expected"):
            PostprocessRules(**wrong)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pieces_in_a_line_of_voxels_are_counted_and_cut_back(axis):
    shape = [1, 1, 1]
    shape[axis] = 13
    labels = np.zeros(shape, dtype=np.uint8)
    labels.flat[::2] = 1
    labels.flat[1] = 1  # one piece of three voxels, five of one
    found = postprocess.pieces(labels, 1)
    assert sorted(found.voxels.tolist()) == [1, 1, 1, 1, 1, 3]
    volume = Volume(array=labels, grid=Grid(shape=tuple(shape), affine=np.eye(4)))
    kept = clean(volume, {1: PostprocessRules(largest=True)}).array
    assert kept.flat[:].tolist() == [1, 1, 1, *[0] * 10]
