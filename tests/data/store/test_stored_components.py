"""Stored components: what prepare writes beside a target, who asks for it, and the table of lesions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from segfocal.data.cases import read_cases
from segfocal.data.store import stored_components
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.data.store.stored_components import renumbered
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import affine_of, make_scan

A, B = Structure(name="a", value=1), Structure(name="b", value=2)
SETTINGS = Preparation(
    grid=ModelGrid(frame="SAR"), intensity=Window(lower=0.0, upper=4.0), structures=(A, B), components=True
)


def case_of(folder, ignore=None):
    """Return one case [x,y,z] of two structures that touch, the first in three pieces."""
    labels = np.zeros((14, 12, 9), np.uint8)
    labels[2:4, 2:5, 1:3], labels[9, 9, 7], labels[10, 10, 8], labels[2, 9, 2:7] = 1, 1, 1, 1
    labels[4:6, 2:5, 1:3] = 2
    labels[2, 9, 4] = 255
    make_scan(folder / "images" / "a.nii.gz", labels.astype(np.int16), affine_of(spacing_mm=(0.7, 0.7, 3.0)))
    make_scan(folder / "labels" / "a.nii.gz", labels, affine_of(spacing_mm=(0.7, 0.7, 3.0)))
    return read_cases(folder, ignore=ignore).cases


def test_voxels_have_the_number_of_their_lesion(tmp_path):
    (ready,) = prepare(case_of(tmp_path), SETTINGS, tmp_path / "cache")
    _, codes = ready.block(0, 9)
    found = ready.components(0, 9)
    for k in range(2):
        expected, count = ndimage.label(codes == k + 1, np.ones((3, 3, 3)))
        assert count == len(np.unique(found[k] * 100 + expected)) - 1
        np.testing.assert_array_equal(found[k] > 0, expected > 0)
        np.testing.assert_array_equal(ready.components(4, 6)[k], found[k, 4:6])
    np.testing.assert_allclose(ready.spacing_mm, (3.0, 0.7, 0.7), rtol=1e-6)
    table = ready.lesions
    assert len(table) == 5
    assert table.structure.tolist() == [0, 0, 0, 0, 1]
    assert table.number.tolist() == [1, 2, 3, 4, 1]
    np.testing.assert_allclose(sorted(table.mm3), np.array([2, 2, 2, 12, 12]) * 0.7 * 0.7 * 3.0, rtol=1e-6)
    for k, number, first, last in zip(table.structure, table.number, table.first, table.last, strict=True):
        inside = ready.components(0, 9)[k] == number
        assert np.flatnonzero(inside.any((1, 2))).tolist() == list(range(first, last + 1))


def test_voxels_to_ignore_part_a_lesion(tmp_path):
    """In case_of one voxel of the third piece is 255: outside either way, but known as ignored."""
    (ready,) = prepare(case_of(tmp_path, ignore=255), SETTINGS, tmp_path / "cache")
    assert len(ready.lesions) == 5


def test_who_does_not_ask_gets_the_same_folder_as_ever_and_who_does_another(tmp_path):
    cases = case_of(tmp_path)
    folders = [
        prepare(cases, replace(SETTINGS, components=wanted), tmp_path / "cache")[0].folder for wanted in (False, True)
    ]
    assert folders[0] != folders[1]
    assert not (folders[0] / "components.b2nd").exists()
    assert (folders[1] / "image.b2nd").read_bytes() == (folders[0] / "image.b2nd").read_bytes()
    again = prepare(cases, SETTINGS, tmp_path / "again")[0].folder
    for file in sorted(again.iterdir()):
        assert file.read_bytes() == (folders[1] / file.name).read_bytes()


def test_many_components_are_named_with_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_components, "_MANY", 2)
    cases = case_of(tmp_path)
    with pytest.warns(UserWarning, match=r"labels/a\.nii\.gz: 4 components of a: noise, or a threshold gone wrong"):
        prepare(cases, SETTINGS, tmp_path / "cache")


def test_more_lesions_than_sixteen_bits_hold_keep_their_numbers(tmp_path):
    labels = np.zeros((520, 520, 2), np.uint8)
    labels[::2, ::2, 0] = 1
    for name in ("images", "labels"):
        make_scan(tmp_path / name / "a.nii.gz", labels, np.eye(4))
    with pytest.warns(UserWarning, match="67600 components of a"):
        (ready,) = prepare(read_cases(tmp_path).cases, replace(SETTINGS, structures=(A,)), tmp_path / "cache")
    numbers = ready.components(0, 2)
    assert numbers.max() == len(ready.lesions) == 260 * 260
    assert len(np.unique(numbers)) == 260 * 260 + 1


def test_objects_are_refused():
    with pytest.raises(ValueError, match="expected no loss and no sampling by lesion with target=objects"):
        replace(SETTINGS, by_object=True)


def test_new_numbers_follow_on_each_other_and_keep_their_order():
    cells = np.array([[[0, 700, 3], [700, 9, 0]], [[5, 5, 5], [5, 5, 60000]]], np.uint16)
    found = renumbered(cells)
    assert found.tolist() == [[[0, 3, 1], [3, 2, 0]], [[1, 1, 1], [1, 1, 2]]]
    assert found.dtype == np.int32
