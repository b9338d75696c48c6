"""Where the foreground of a prepared case is: the box of the body, and voxels of each structure."""

import numpy as np
import pytest

from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Percentiles, Window
from segfocal.io import nifti
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import make_scan

BALL = Structure(name="ball", value=1)


def in_air(tmp_path, intensity):
    """Prepare a body of 9×40×44 voxels in air, labelled in one corner of it and in one pixel outside, both ways."""
    image, label = np.full((70, 64, 15), -1000.0), np.zeros((70, 64, 15), dtype=np.uint8)
    image[20:60, 10:54, 4:13] = np.random.default_rng(0).normal(40, 20, (40, 44, 9))
    label[22:30, 12:20, 5:8] = 1
    label[5, 30, 1] = 1
    make_scan(tmp_path / "images" / "a.nii.gz", image.astype(np.int16), np.eye(4))
    make_scan(tmp_path / "labels" / "a.nii.gz", label, np.eye(4))
    settings = [
        Preparation(grid=ModelGrid(frame="SAR"), intensity=intensity, structures=(BALL,), crop=crop)
        for crop in ("none", "body")
    ]
    return [prepare(read_cases(tmp_path).cases, one, tmp_path / "cache")[0] for one in settings]


@pytest.mark.parametrize("intensity", [Window(lower=-160.0, upper=240.0), Percentiles()])
def test_a_cropped_case_is_a_box_of_the_whole_one_that_holds_body_and_labels(tmp_path, intensity):
    whole, cropped = in_air(tmp_path, intensity)
    start = np.array(cropped.offset)
    stop = start + cropped.shape
    assert tuple(start) == (0, 2, 0)  # a slice, eight rows and columns around voxels 1–12, 10–53 and 5–59
    assert tuple(stop) == (14, 62, 68)
    assert whole.offset == (0, 0, 0)
    for z in range(cropped.shape[0]):
        for got, all_of_it in zip(cropped.slice(z), whole.slice(z + start[0]), strict=True):
            np.testing.assert_array_equal(got, all_of_it[..., start[1] : stop[1], start[2] : stop[2]])
    np.testing.assert_array_equal(cropped.pixels, whole.pixels[:, start[0] : stop[0]])
    np.testing.assert_array_equal(cropped.locations[0] + start, whole.locations[0])


def test_a_scan_of_air_alone_keeps_its_shape(tmp_path):
    make_scan(tmp_path / "images" / "a.nii.gz", np.full((9, 8, 5), -1000, dtype=np.int16))
    make_scan(tmp_path / "labels" / "a.nii.gz", np.zeros((9, 8, 5), dtype=np.uint8))
    settings = Preparation(
        grid=ModelGrid(), intensity=Window(lower=-160.0, upper=240.0), structures=(BALL,), crop="body"
    )
    (ready,) = prepare(read_cases(tmp_path).cases, settings, tmp_path / "cache")
    assert ready.shape == (5, 8, 9)


def test_the_box_of_several_channels_holds_what_is_bright_in_any(tmp_path):
    channels = np.full((2, 40, 36, 5), -1000, dtype=np.int16)
    channels[0, 12:14, 12:20, 1:4], channels[1, 25:27, 20:24, 2:3] = 100, 100
    first, second = (make_scan(tmp_path / f"{c}.nii.gz", channels[c], np.eye(4)) for c in (0, 1))
    label = make_scan(tmp_path / "label.nii.gz", np.zeros((40, 36, 5), dtype=np.uint8), np.eye(4))
    case = Case(name="a", image=first, more=(second,), label=label)
    settings = Preparation(
        grid=ModelGrid(frame="SAR"),
        intensity=Window(lower=-160.0, upper=240.0),
        structures=(BALL,),
        crop="body",
    )
    (ready,) = prepare([case], settings, tmp_path / "cache")
    assert ready.offset == (0, 4, 4)
    assert ready.shape == (5, 28, 31)  # rows 12–23, columns 12–26, and eight on each side
    seen = np.stack([ready.slice(z)[0] for z in range(5)], axis=1)
    expected = (np.moveaxis(channels, (1, 2, 3), (3, 2, 1))[:, :, 4:32, 4:35] > 0) * 0.65
    np.testing.assert_allclose(seen, expected, atol=2**-11)  # float16


def test_locations_lie_in_their_structure_and_are_the_same_every_time(tmp_path):
    labels = np.zeros((40, 30, 12), dtype=np.int16)
    labels[5:35, 4:25, 2:11] = 1  # 5,670 voxels, of which 1000 are kept
    labels[7:9, 5:7, 3:5] = 2  # 8 voxels: all of them
    make_scan(tmp_path / "images" / "a.nii.gz", np.zeros_like(labels))
    make_scan(tmp_path / "labels" / "a.nii.gz", labels)
    structures = tuple(Structure(name=name, value=value) for value, name in enumerate(("organ", "lesion", "gone"), 1))
    settings = Preparation(grid=ModelGrid(), intensity=Percentiles(), structures=structures)
    (ready,) = prepare(read_cases(tmp_path).cases, settings, tmp_path / "cache")
    (again,) = prepare(read_cases(tmp_path).cases, settings, tmp_path / "other")
    target = nifti.read_labels(tmp_path / "labels" / "a.nii.gz").oriented("SPL").array
    assert [len(voxels) for voxels in ready.locations] == [1000, 8, 0]
    for value, voxels in enumerate(ready.locations, start=1):
        assert voxels.shape[1:] == (3,)
        assert (target[tuple(voxels.T)] == value).all()
        assert len(np.unique(voxels, axis=0)) == len(voxels)
        np.testing.assert_array_equal(voxels, again.locations[value - 1])
    # Drawn alike: the mean of 1000 of n voxels is within 4 standard errors of that of all n.
    everywhere = np.argwhere(target == 1)
    error = everywhere.std(0) / np.sqrt(1000)
    assert (abs(ready.locations[0].mean(0) - everywhere.mean(0)) < 4 * error).all()
