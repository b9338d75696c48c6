"""Sampling by lesion: every lesion with the same chance, samples cut around it, and their cells beside them."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segfocal.batch import SampleKey
from segfocal.component_cells import nearest_component
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset, collate
from segfocal.data.sampling.lesion_sampler import LesionSampler
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import affine_of, make_scan

SIZES = (8, 1, 1, 2)  # sides of the cubes in the first case; the second has one of 3


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Two cases: four cubes of which one has nearly all voxels, and one cube. Images hold the number of the cube."""
    return prepared(tmp_path_factory.mktemp("lesions"))


def prepared(folder, spacing_mm=(1.0, 1.0, 1.0)):
    affine = affine_of(spacing_mm=spacing_mm)
    labels = np.zeros((2, 40, 44, 20), np.int16)
    for number, (side, (x, y, z)) in enumerate(
        zip(SIZES, ((4, 4, 2), (16, 6, 5), (8, 36, 15), (30, 30, 12)), strict=True), start=1
    ):
        labels[0, x : x + side, y : y + side, z : z + side] = number
    labels[1, 20:23, 20:23, 8:11] = 5
    for name, one in zip("ab", labels, strict=True):
        make_scan(folder / "images" / f"{name}.nii.gz", one, affine)
        make_scan(folder / "labels" / f"{name}.nii.gz", (one > 0).astype(np.uint8), affine)
    settings = Preparation(
        grid=ModelGrid(frame="SAR"),
        intensity=Window(lower=0.0, upper=5.0),
        structures=(Structure(name="cube", value=1),),
        components=True,
    )
    return prepare(read_cases(folder).cases, settings, folder / "cache")


def drawn(sampler, count):
    return [sampler.draw(np.random.default_rng([n])) for n in range(count)]


def shares(draws):
    """Return the share of each (case, number) among draws."""
    found = [(one.case, one.number) for one in draws]
    return {key: found.count(key) / len(found) for key in sorted(set(found))}


def test_every_lesion_of_every_case_has_the_same_chance(ready):
    found = shares(drawn(LesionSampler(ready), 2000))
    assert len(found) == 5
    assert all(abs(share - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 2000) for share in found.values())


def test_classes_of_size_have_the_same_chance(ready):
    """Balls of the cubes' volumes: 9.9, 1.2, 1.2, 2.5 and 3.7 mm."""
    table = ready[0].lesions
    found = shares(drawn(LesionSampler(ready, (1.5, 5.0, 50.0)), 2000))
    small = {(0, int(n)) for n, mm3 in zip(table.number, table.mm3, strict=True) if mm3 < 2}
    large = {(0, int(n)) for n, mm3 in zip(table.number, table.mm3, strict=True) if mm3 > 500}
    for members, each in ((small, 1 / 6), (large, 1 / 3), (set(found) - small - large, 1 / 6)):
        assert all(abs(found[one] - each) < 4 * np.sqrt(each * (1 - each) / 2000) for one in members)


def test_all_slices_of_a_lesion_are_drawn(ready):
    slices = {one.slice_index for one in drawn(LesionSampler(ready), 600) if (one.case, one.number) == (1, 1)}
    assert slices == {8, 9, 10}


def dataset(cases, **options):
    return SliceDataset(cases, 1, Sampling(**{"foreground": 0.0, "crop": (9, 9), "lesions": 1.0} | options))


def test_samples_are_centred_on_their_lesion(ready):
    data, numbers = dataset(ready), []
    for sample in range(300):
        one = data[SampleKey(0, 0, sample)]
        assert one.target[0, 4:6, 4:6].any()
        assert one.cells is None
        numbers.append(round(float(one.image[0, 4:6, 4:6].max()) * 5))
    assert all(abs(numbers.count(n) / 300 - 0.2) < 0.1 for n in range(1, 6))


def test_without_lesions_the_draw_is_as_ever(ready):
    plain = SliceDataset(ready, 1, Sampling(foreground=0.5, crop=(9, 9)))
    with_cells = SliceDataset(ready, 1, Sampling(foreground=0.5, crop=(9, 9), cells=True))
    for sample in range(40):
        one, other = (data[SampleKey(1, 2, sample)] for data in (plain, with_cells))
        assert one.image.equal(other.image)
        assert one.target.equal(other.target)
        assert other.cells.shape == other.target.shape


@pytest.mark.parametrize("crop", [(15, 13), (4, 15, 13), (30, 60, 60)])
def test_cells_are_of_the_lesions_in_a_sample(tmp_path, crop):
    """Slices are 3 mm apart, their rows (along y, as patients lie) 0.5 mm, their columns 1.5 mm."""
    data = dataset(prepared(tmp_path, (1.5, 0.5, 3.0)), crop=crop, cells=True, lesions=0.7)
    samples = [data[SampleKey(0, 0, sample)] for sample in range(40)]
    assert any(len(one.cells.unique()) > 1 for one in samples)
    for one in samples:
        assert one.cells.dtype == torch.int32
        cubes = (one.image * 5).round().int()
        for number in one.cells.unique():
            inside = (one.cells == number) & (one.target == 1)
            assert len(cubes[inside].unique()) <= 1  # every cell holds one cube
        numbers = (one.cells * (one.target == 1))[0].numpy()
        np.testing.assert_array_equal(one.cells[0], nearest_component(numbers, (3.0, 0.5, 1.5)[-len(crop) :]))
    batch = collate(samples)
    assert batch.cells.shape == batch.target.shape
    assert len(batch.cells) == 40


@pytest.mark.parametrize("crop", [(9, 30), (3, 9, 30)])
def test_a_lesion_that_a_sample_cuts_in_two_stays_one(tmp_path, crop):
    """A U of two arms along y, joined on one slice at the far end: no other slice, and no crop here, holds the bend."""
    labels = np.zeros((40, 40, 12), np.uint8)
    labels[4:7, :30, :], labels[20:23, :30, :], labels[4:23, 28:30, 11] = 1, 1, 1
    for name in ("images", "labels"):
        make_scan(tmp_path / name / "a.nii.gz", labels, np.eye(4))
    settings = Preparation(
        grid=ModelGrid(frame="SAR"),
        intensity=Window(lower=0.0, upper=5.0),
        structures=(Structure(name="u", value=1),),
        components=True,
    )
    cases = prepare(read_cases(tmp_path).cases, settings, tmp_path / "cache")
    assert len(cases[0].lesions) == 1
    data, both = dataset(cases, crop=crop, cells=True), 0
    for sample in range(60):
        one = data[SampleKey(0, 0, sample)]
        assert (one.cells == 1).all()
        _, pieces = ndimage.label(one.target[0].numpy(), np.ones((3,) * len(crop)))
        both += pieces == 2
    assert both > 5


def test_shares_and_edges_out_of_range_are_refused(ready):
    for options, words in (
        ({"lesions": 1.5}, r"expected data.lesions in \[0,1\]; got 1.5"),
        ({"lesion_edges": (5.0, 3.0)}, "expected data.lesion_edges to be ascending"),
        ({"lesion_edges": (0.0,)}, "expected data.lesion_edges to be ascending"),
    ):
        with pytest.raises(ValueError, match=words):
            dataset(ready, **options)
    with pytest.raises(ValueError, match=r"expected lesions in the training cases, for data\.lesions; got none"):
        LesionSampler([])
