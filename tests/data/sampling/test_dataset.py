"""Training samples: each a function of its key alone, cut where it should be, and free of empty-set accidents."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.batch import Batch, SampleKey
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset, Steps, collate, cut, load
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation, PreparedCase
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import make_scan, make_sphere_cases

law = settings(deadline=None, max_examples=100)  # no deadline: a busy machine is no counterexample

CROP = (11, 8)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Three cases with a small ball, at half the value range, in noise."""
    folder = tmp_path_factory.mktemp("loader")
    cases = read_cases(make_sphere_cases(folder / "data", 3, shape=(23, 19, 9), radius_mm=3.2)).cases
    structures = (Structure(name="ball", value=1),)
    settings = Preparation(grid=ModelGrid(), intensity=Window(lower=-60.0, upper=160.0), structures=structures)
    return prepare(cases, settings, folder / "cache")


def prepared_from(folder, labels, values=(1,)):
    """Prepare one case of the label map [x,y,z], seen as slices [z,y,x] in frame SAR, with its labels as the image."""
    make_scan(folder / "images" / "a.nii.gz", labels.astype(np.int16), np.eye(4))
    make_scan(folder / "labels" / "a.nii.gz", labels.astype(np.uint8), np.eye(4))
    settings = Preparation(
        grid=ModelGrid(frame="SAR"),
        intensity=Window(lower=0.0, upper=4.0),
        structures=tuple(Structure(name=f"s{v}", value=v) for v in values),
    )
    return prepare(read_cases(folder).cases, settings, folder / "cache")


def dataset(cases, *, foreground=0.5, crop=CROP, classes=1):
    return SliceDataset(cases, classes, Sampling(foreground=foreground, crop=crop))


def keys(count, *, seed=0, step=0):
    return [SampleKey(seed, step, index) for index in range(count)]


def same(first, second):
    return first[0].equal(second[0]) and first[1].equal(second[1]) and first[2:] == second[2:]


def batches_equal(first, second):
    tensors = first.image.equal(second.image) and first.target.equal(second.target)
    return tensors and first.keys == second.keys and first.origins == second.origins


# A sample and its key


def test_a_sample_is_a_function_of_its_key(ready):
    data, again = dataset(ready), dataset([PreparedCase(case.name, case.folder, case.scheme) for case in ready])
    wanted = keys(20, seed=3, step=5)
    forwards = [data[key] for key in wanted]
    backwards = [again[key] for key in wanted[::-1]][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_a_sample_does_not_touch_the_global_generators(ready):
    data, key = dataset(ready), SampleKey(0, 1, 2)
    torch.manual_seed(0)
    np.random.seed(0)
    before = data[key]
    torch.manual_seed(1)
    np.random.seed(1)
    assert same(before, data[key])


@pytest.mark.parametrize("other", [SampleKey(1, 0, 0), SampleKey(0, 1, 0), SampleKey(0, 0, 1)])
def test_every_part_of_the_key_counts(ready, other):
    data = dataset(ready)
    assert not data[SampleKey(0, 0, 0)][0].equal(data[other][0])


def test_a_sample_is_a_piece_of_the_slice_it_names(ready):
    cases = {case.name: case for case in ready}
    for key in keys(20):
        image, target, got, origin, _ = dataset(ready)[key]
        assert got == key
        whole, indices = cases[origin.case].slice(origin.slice_index)
        both = np.stack([whole[0], indices])
        pieces = np.lib.stride_tricks.sliding_window_view(both, CROP, axis=(1, 2))
        mine = np.stack([image[0].numpy(), target[0].numpy()])
        assert (pieces == mine[:, None, None]).all(axis=(0, 3, 4)).any()


def test_image_is_float32_in_0_1_and_target_uint8_of_0_and_1(ready):
    batch = collate([dataset(ready)[key] for key in keys(6)])
    assert batch.image.shape == (6, 1, *CROP)
    assert batch.target.shape == (6, 1, *CROP)
    assert batch.image.dtype == torch.float32
    assert batch.target.dtype == torch.uint8
    assert 0 <= batch.image.min() < batch.image.max() <= 1
    assert set(batch.target.unique().tolist()) == {0, 1}


def test_every_case_is_drawn_alike(ready):
    names = [dataset(ready)[key][3].case for key in keys(300)]
    counts = [names.count(case.name) for case in ready]
    assert min(counts) > 70  # of 100 expected, with a standard deviation of 8


# Foreground


def test_foreground_1_always_shows_the_target(ready):
    assert all(target.any() for _, target, *_ in map(dataset(ready, foreground=1.0).__getitem__, keys(60)))


@pytest.mark.parametrize("crop", [(2, 2), (5, 3), (40, 7)])
def test_foreground_1_shows_the_target_in_a_crop_of_any_size(ready, crop):
    data = dataset(ready, foreground=1.0, crop=crop)
    for key in keys(40):
        image, target, *_ = data[key]
        assert image.shape == target.shape == (1, *crop)
        assert target.any()


def test_foreground_0_draws_every_slice_alike(ready):
    origins = [dataset(ready, foreground=0.0)[key][3] for key in keys(600)]
    depth = ready[0].shape[0]
    counts = [sum(origin.slice_index == index for origin in origins) for index in range(depth)]
    assert sum(counts) == 600
    expected, deviation = 600 / depth, (600 / depth * (1 - 1 / depth)) ** 0.5
    np.testing.assert_allclose(counts, expected, atol=4 * deviation)  # 1 in 16 000 draws lies farther out


def test_half_foreground_shows_the_target_in_at_least_half(ready):
    shown = np.mean([bool(dataset(ready, foreground=0.5)[key][1].any()) for key in keys(400)])
    assert shown > 0.5 - 4 * (0.25 / 400) ** 0.5  # four standard deviations of the draw


def test_a_volume_without_target_gives_samples_without_target(tmp_path):
    cases = prepared_from(tmp_path, np.zeros((9, 7, 5)))
    for foreground in (0.0, 0.5, 1.0):
        data = dataset(cases, foreground=foreground, crop=(4, 3))
        assert not any(data[key][1].any() for key in keys(10))


def test_a_volume_without_target_among_others_keeps_its_share(tmp_path, ready):
    cases = [*prepared_from(tmp_path, np.zeros((23, 19, 5))), ready[0]]
    samples = [dataset(cases, foreground=1.0)[key] for key in keys(40)]
    assert {one.origin.case for one in samples} == {"a", "c0"}
    assert all(bool(target.any()) == (origin.case == "c0") for _, target, _, origin, _ in samples)


def test_structures_are_drawn_in_turn_and_keep_their_channels(tmp_path):
    labels = np.zeros((20, 15, 6))
    labels[1:3, 1:3, 1] = 2  # a small one in one slice, a large one in another corner
    labels[12:19, 8:14, 2:5] = 4
    data = dataset(prepared_from(tmp_path, labels, values=(4, 2)), foreground=1.0, crop=(4, 5), classes=2)
    seen = np.zeros(2)
    for key in keys(80):
        image, target, *_ = data[key]
        np.testing.assert_array_equal(target[0].numpy() == 1, image[0].numpy() == 1.0)  # value 4 of a window 0…4
        np.testing.assert_array_equal(target[1].numpy() == 1, image[0].numpy() == 0.5)
        seen += target.flatten(1).any(1).numpy()
    assert seen.sum() == 80  # never both in one crop, never none
    assert seen.min() > 22  # of 40 expected, with a standard deviation of 4.5


# Cutting


@law
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_cut_lies_inside_or_is_padded_evenly(shape, size, at):
    array = np.arange(1, shape[0] * shape[1] + 1).reshape(shape)
    piece = cut(array, np.array(at) * (np.array(shape) - 1), size)
    assert piece.shape == size
    assert piece.flags["C_CONTIGUOUS"]
    inside = piece > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    for kept, full, wanted in ((rows, shape[0], size[0]), (columns, shape[1], size[1])):
        assert len(kept) == min(full, wanted)
        before, after = kept[0], wanted - 1 - kept[-1]
        assert abs(before - after) <= 1  # an odd pad has one more on one side
    core = piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    first = np.unravel_index(core[0, 0] - 1, shape)
    np.testing.assert_array_equal(core, array[first[0] : first[0] + core.shape[0], first[1] : first[1] + core.shape[1]])


@law
@given(
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
    st.tuples(st.integers(0, 29), st.integers(0, 29)),
)
def test_a_cut_holds_its_centre(shape, size, at):
    centre = np.minimum(at, np.array(shape) - 1)
    array = np.zeros(shape)
    array[tuple(centre)] = 1
    (found,) = np.argwhere(cut(array, centre, size))
    for axis in (0, 1):
        room = shape[axis] - size[axis]
        if size[axis] // 2 < centre[axis] < shape[axis] - 1 - size[axis] // 2 and room > 0:  # away from the border
            assert abs(found[axis] - (size[axis] - 1) / 2) <= 1


def test_a_cut_by_hand():
    array = np.arange(35).reshape(5, 7)
    np.testing.assert_array_equal(cut(array, (2, 3), (2, 4)), [[8, 9, 10, 11], [15, 16, 17, 18]])
    np.testing.assert_array_equal(cut(array, (0, 6), (2, 2)), [[5, 6], [12, 13]])
    np.testing.assert_array_equal(cut(np.ones((1, 3)), (0, 0), (3, 5)), np.pad(np.ones((1, 3)), 1))
    np.testing.assert_array_equal(cut(np.array([[1, 2, 3]]), (0, 2), (2, 2)), [[2, 3], [0, 0]])


def test_a_cut_does_not_change_its_input():
    array = np.arange(35.0).reshape(5, 7)
    piece = cut(array, (2, 3), (5, 7))
    np.testing.assert_array_equal(piece, array)
    cut(array, (2, 3), (9, 2))[:] = -1
    np.testing.assert_array_equal(array, np.arange(35.0).reshape(5, 7))


# Steps and batches


def test_two_ranks_together_draw_one_ranks_batches():
    options = {"seed": 7, "first": 3, "last": 9, "batch_size": 6}
    one = list(Steps(**options))
    two = [list(Steps(**options, rank=rank, world=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*two, strict=True)] == one
    assert len(one) == len(two[0]) == len(two[1]) == len(Steps(**options)) == 6
    assert len({key for step in one for key in step}) == 36


def test_two_ranks_together_load_one_ranks_samples(ready):
    options = {"seed": 7, "first": 0, "last": 3, "batch_size": 4}
    one = list(load(dataset(ready), Steps(**options), workers=0, pin=False))
    ranks = [
        list(load(dataset(ready), Steps(**options, rank=rank, world=2), workers=0, pin=False)) for rank in range(2)
    ]
    for whole, *shares in zip(one, *ranks, strict=True):
        assert torch.cat([share.image for share in shares]).equal(whole.image)
        assert torch.cat([share.target for share in shares]).equal(whole.target)
        assert sum((share.origins for share in shares), ()) == whole.origins


def test_a_resumed_run_loads_what_the_whole_run_would_have(ready):
    options = {"seed": 7, "last": 6, "batch_size": 3}
    whole = list(load(dataset(ready), Steps(first=0, **options), workers=0, pin=False))
    rest = list(load(dataset(ready), Steps(first=4, **options), workers=0, pin=False))
    assert len(rest) == 2
    assert all(batches_equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_the_number_of_loading_processes_changes_nothing(ready):
    options = {"seed": 1, "first": 0, "last": 5, "batch_size": 3}
    alone = list(load(dataset(ready), Steps(**options), workers=0, pin=False))
    shared = list(load(dataset(ready), Steps(**options), workers=2, pin=False))
    assert len(alone) == 5
    assert all(batches_equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(
        ValueError, match=r"train\.batch_size to be a multiple of 2 processes × 1 forward passes; got 5"
    ):
        Steps(seed=0, first=0, last=1, batch_size=5, world=2)


def test_collate_keeps_the_order(ready):
    samples = [dataset(ready)[key] for key in keys(4)]
    batch = collate(samples)
    assert isinstance(batch, Batch)
    assert len(batch) == 4
    for i, (image, target, key, origin, _) in enumerate(samples):
        assert batch.image[i].equal(image)
        assert batch.target[i].equal(target)
        assert (batch.keys[i], batch.origins[i]) == (key, origin)


@pytest.mark.parametrize("foreground", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_1_is_refused(foreground):
    with pytest.raises(ValueError, match=r"data\.foreground in \[0,1\]"):
        Sampling(foreground=foreground, crop=CROP)


def test_accumulating_draws_the_samples_of_one_whole_batch():
    options = {"seed": 4, "first": 2, "last": 4, "batch_size": 12}
    whole = list(Steps(**options))
    for accumulate, world in ((3, 1), (2, 2)):
        parts = [list(Steps(**options, accumulate=accumulate, rank=rank, world=world)) for rank in range(world)]
        for i, step in enumerate(whole):
            passes = [part[i * accumulate + p] for p in range(accumulate) for part in parts]
            assert [key for keys in passes for key in keys] == step


@pytest.mark.parametrize(
    ("options", "said"),
    [({"rare": -1}, "data.rare"), ({"replay": 1.5}, "data.replay in"), ({"replay_every": 0}, "data.replay_every")],
)
def test_values_out_of_range_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        Sampling(foreground=0.5, crop=(8, 8), **options)
