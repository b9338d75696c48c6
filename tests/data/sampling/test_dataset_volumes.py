"""Samples of a volume: neighbouring slices as channels, and patches, pieces of the volume with their target."""

import numpy as np
import pytest

from segfocal.batch import SampleKey
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from tests.inference.bundles import BALL, UNIT
from tests.inference.neighbours import expected
from tests.scans import make_sphere_case, make_sphere_cases


def test_a_training_sample_has_the_neighbours_of_its_slice(tmp_path):
    make_sphere_case(tmp_path, shape=(9, 10, 6), affine=np.eye(4), radius_mm=3.0)
    preparation = Preparation(grid=ModelGrid(), intensity=Window(lower=-60.0, upper=160.0), structures=BALL)
    (case,) = prepare(read_cases(tmp_path).cases, preparation, tmp_path / "cache")
    alone = np.stack([case.slice(z)[0][0] for z in range(6)])
    for z in range(6):
        image, target = case.slice(z, neighbours=3)
        np.testing.assert_array_equal(image, expected(alone, 3)[:, z])
        np.testing.assert_array_equal(target, case.slice(z)[1])
    data = SliceDataset([case], 1, Sampling(foreground=0.5, crop=case.shape[1:], neighbours=1))
    for sample in range(8):
        image, _, _, origin, _ = data[SampleKey(0, 0, sample)]
        z = origin.slice_index
        np.testing.assert_array_equal(image, expected(alone, 1)[:, z])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    cases = read_cases(make_sphere_cases(folder / "data", 2, shape=(15, 13, 12), affine=np.eye(4), radius_mm=3.0)).cases
    seen = Preparation(grid=ModelGrid(spacing_mm=(1.5, 1.0, 1.2)), intensity=UNIT, structures=BALL)
    return prepare(cases, seen, folder / "cache")


@pytest.mark.parametrize("crop", [(5, 7, 6), (4, 20, 6), (16, 7, 30)])
def test_a_patch_is_a_piece_of_the_volume_with_its_target(prepared, crop):
    data = SliceDataset(prepared, 1, Sampling(foreground=0.6, crop=crop))
    places = set()
    for sample in range(24):
        image, target, _, origin, _ = data[SampleKey(0, 0, sample)]
        assert image.shape == target.shape == (1, *crop)
        case = next(case for case in prepared if case.name == origin.case)
        whole, indices = case.block(0, case.shape[0])
        padding = [
            (max(c - n, 0) // 2, max(c - n, 0) - max(c - n, 0) // 2) for c, n in zip(crop, case.shape, strict=True)
        ]
        both = np.stack([np.pad(whole[0], padding), np.pad(indices, padding)])
        pieces = np.lib.stride_tricks.sliding_window_view(both, crop, axis=(1, 2, 3))
        mine = np.stack([image[0].numpy(), target[0].numpy()])[:, None, None, None]
        found = np.argwhere((pieces == mine).all(axis=(0, 4, 5, 6)))
        assert len(found)
        places.add(found[0][0] + crop[0] * 100)
        again = data[SampleKey(0, 0, sample)]
        assert again[0].equal(image)
    assert len(places) > 1 or crop[0] > prepared[0].shape[0]


def test_foreground_patches_hold_the_target(prepared):
    data = SliceDataset(prepared, 1, Sampling(foreground=1.0, crop=(4, 5, 5)))
    assert all(data[SampleKey(0, 0, sample)][1].any() for sample in range(20))


def test_neighbours_and_patches_do_not_go_together():
    with pytest.raises(ValueError, match=r"data.neighbours=0"):
        Sampling(foreground=0.5, crop=(8, 16, 16), neighbours=1)
