"""Prepared slices: equal to what direct code makes of the files, cached by every setting, safe to kill and to share."""

import os
import pickle
import shutil
from dataclasses import replace

import blosc2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from segfocal.data.case import Case, Mask
from segfocal.data.cases import read_cases
from segfocal.data.mask_files import read_masks
from segfocal.data.store import prepare as module
from segfocal.data.store.prepare import prepare, read_pair
from segfocal.data.store.prepared_case import Preparation, check_foreground
from segfocal.errors import UserError
from segfocal.files import read_json, write_json
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.intensity_statistics import PERCENTILES
from segfocal.io import nifti
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import AFFINES, make_scan, make_sphere_cases, spoil_header

BALL = Structure(name="ball", value=1)


def preparation(*, frame="SPL", spacing_mm=(1.3, 0.8), intensity=None, structures=(BALL,)):
    intensity = Window(lower=-60.0, upper=160.0) if intensity is None else intensity
    return Preparation(grid=ModelGrid(frame=frame, spacing_mm=spacing_mm), intensity=intensity, structures=structures)


@pytest.fixture
def cases(tmp_path):
    return list(read_cases(make_sphere_cases(tmp_path / "data", 2, affine=AFFINES["oblique"])).cases)


def states(folder):
    """Return every file and folder below with the time it last changed."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("intensity", [Window(lower=-60.0, upper=160.0), Percentiles()])
@pytest.mark.parametrize("frame", ["SPL", "RAS"])
def test_slices_are_the_scan_resampled_and_normalised(tmp_path, cases, frame, intensity):
    settings = preparation(frame=frame, intensity=intensity)
    for case, ready in zip(cases, prepare(cases, settings, tmp_path / "cache"), strict=True):
        image = intensity(settings.grid.image(nifti.read(case.image)).array)
        target = settings.grid.labels(nifti.read_labels(case.label), [1]).array
        assert ready.name == case.name
        assert ready.shape == image.shape
        for index in range(len(image)):
            slice_image, slice_target = ready.slice(index)
            assert slice_image.dtype == np.float32
            assert slice_target.dtype == np.uint8
            np.testing.assert_allclose(slice_image, image[index][None], atol=2**-12)  # half a step of float16 below 1
            np.testing.assert_array_equal(slice_target, target[index])


def test_pixels_count_each_structure_in_each_slice(tmp_path):
    labels = np.zeros((9, 7, 5), dtype=np.int16)
    labels[:, :, 1:4] = 300
    labels[2:5, 1:6, 2] = 2
    make_scan(tmp_path / "images" / "a.nii.gz", np.zeros_like(labels), np.eye(4))
    make_scan(tmp_path / "labels" / "a.nii.gz", labels, np.eye(4))
    structures = (
        Structure(name="lesion", value=2),
        Structure(name="organ", value=300),
        Structure(name="gone", value=9),
    )
    settings = preparation(spacing_mm=None, structures=structures)
    (ready,) = prepare(read_cases(tmp_path).cases, settings, tmp_path / "cache")
    np.testing.assert_array_equal(ready.pixels, [[0, 0, 15, 0, 0], [0, 63, 48, 63, 0], [0, 0, 0, 0, 0]])
    assert ready.label_values == [0, 2, 300]
    target = np.stack([ready.slice(i)[1] for i in range(5)])
    np.testing.assert_array_equal([(target == k).sum((1, 2)) for k in (1, 2, 3)], ready.pixels)


def test_a_second_run_reads_what_the_first_prepared(tmp_path, cases, monkeypatch):
    first = prepare(cases, preparation(), tmp_path / "cache")
    before = states(first[0].folder) | states(first[1].folder)
    monkeypatch.setattr(module, "read_pair", None)  # no scan is opened again
    second = prepare(cases, preparation(), tmp_path / "cache")
    assert [ready.folder for ready in second] == [ready.folder for ready in first]
    assert states(first[0].folder) | states(first[1].folder) == before
    assert sorted((tmp_path / "cache").iterdir()) == sorted(ready.folder for ready in first)


@pytest.mark.parametrize(
    "changed",
    [
        preparation(frame="RAS"),
        preparation(spacing_mm=None),
        preparation(spacing_mm=(1.3, 0.9)),
        preparation(intensity=Window(lower=-60.0, upper=161.0)),
        preparation(intensity=Percentiles()),
        preparation(structures=(Structure(name="ball", value=2),)),
        preparation(structures=(BALL, Structure(name="other", value=2))),
    ],
)
def test_a_changed_setting_makes_another_folder(tmp_path, cases, changed):
    first = prepare(cases, preparation(), tmp_path / "cache")
    other = prepare(cases, changed, tmp_path / "cache")
    assert not {ready.folder for ready in first} & {ready.folder for ready in other}


def test_a_changed_file_makes_another_folder(tmp_path, cases):
    first = prepare(cases, preparation(), tmp_path / "cache")
    shutil.copy(cases[1].label, cases[0].label)  # as long as before, perhaps, but of another time
    os.utime(cases[0].label, ns=(0, 0))
    again = prepare(cases, preparation(), tmp_path / "cache")
    assert again[0].folder != first[0].folder
    assert again[1].folder == first[1].folder


def test_a_structures_name_changes_nothing(tmp_path, cases):
    first = prepare(cases, preparation(), tmp_path / "cache")
    renamed = preparation(structures=(Structure(name="sphere", value=1),))
    assert [r.folder for r in prepare(cases, renamed, tmp_path / "cache")] == [r.folder for r in first]


def test_a_label_map_on_another_grid_is_told(tmp_path, cases):
    labels = nifti.read_labels(cases[0].label).array
    make_scan(cases[0].label, labels, AFFINES["LPS"])
    with pytest.raises(UserError, match=r"on the grid of its image c0\.nii\.gz; found .* mm .*labels/c0\.nii\.gz"):
        prepare(cases, preparation(), tmp_path / "cache")
    make_scan(cases[0].label, labels[:-1], AFFINES["oblique"])
    with pytest.raises(UserError, match=r"found shape \(22, 19, 7\) against \(23, 19, 7\) in .*labels/c0\.nii\.gz"):
        read_pair(cases[0])


@pytest.mark.parametrize("axes", ["LPS", "RIA", "SAL"])
def test_a_label_map_stored_along_other_axes_is_turned(tmp_path, cases, axes):
    expected = read_pair(cases[0])[1]
    turn = expected.grid.orientation_to(axes)
    make_scan(cases[0].label, turn.apply(expected.array), expected.grid.oriented(turn).affine)
    module.check_pairs(cases)
    scan, labels = read_pair(cases[0])
    np.testing.assert_array_equal(labels.array, expected.array)
    assert labels.grid is scan.grid
    mask = Mask(path=cases[0].label, value=1)
    (inside,) = read_masks(replace(cases[0], masks=(mask,)), scan.grid)
    np.testing.assert_array_equal(inside.array, expected.array == 1)


def test_a_scan_in_microns_is_prepared_as_its_twin_in_mm(tmp_path):
    images = []
    for unit, factor in ((2, 1.0), (3, 1000.0)):
        (case,) = read_cases(make_sphere_cases(tmp_path / str(unit), 1, affine=AFFINES["LPS"], ending=".nii")).cases
        for path in (case.image, case.label):
            array = np.asarray(nifti.read_as_is(path).array).copy()
            make_scan(path, array, np.diag([factor, factor, factor, 1]) @ AFFINES["LPS"])
            spoil_header(path, xyzt_units=unit)
        (prepared,) = prepare([case], preparation(), tmp_path / "cache")
        images.append(blosc2.open(str(prepared.folder / "image.b2nd"))[:])
    np.testing.assert_allclose(images[0], images[1], atol=2e-3)  # half floats; the spacing differs in the last digit


def test_a_damaged_scan_is_told_and_leaves_no_folder(tmp_path, cases):
    cases[1].image.write_bytes(cases[1].image.read_bytes()[:300])
    with pytest.raises(UserError, match=r"images/c1\.nii\.gz"):
        prepare(cases, preparation(), tmp_path / "cache")
    assert [path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()] == ["c0"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path, cases):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"expected a place to write to; found .* in .*cache"):
        prepare(cases, preparation(), tmp_path / "cache")


# Structures that are not there


def foreground(tmp_path, cases, *structures):
    settings = preparation(structures=structures)
    check_foreground(prepare(cases, settings, tmp_path / "cache"), structures, where=tmp_path / "data")


def test_a_structure_in_one_case_is_enough(tmp_path, cases):
    empty = make_scan(cases[0].label, np.zeros((23, 19, 7), dtype=np.uint8), AFFINES["oblique"])
    assert not nifti.read_labels(empty).array.any()
    foreground(tmp_path, cases, BALL)


def test_a_structure_in_no_case_is_told_with_the_values_there_are(tmp_path, cases):
    with pytest.raises(UserError, match=r"bone \(label value 9\).*; found label values \[0, 1\] only in .*data"):
        foreground(tmp_path, cases, BALL, Structure(name="bone", value=9))


def test_a_structure_too_small_for_the_spacing_is_told(tmp_path, cases):
    for case in cases:
        labels = np.zeros((23, 19, 7), dtype=np.uint8)
        labels[11, 9, 3] = 1
        make_scan(case.label, labels, AFFINES["oblique"])
    settings = preparation(spacing_mm=(9.0, 9.0))
    with pytest.raises(UserError, match=r"ball \(label value 1\).*too few to fill half a pixel"):
        check_foreground(prepare(cases, settings, tmp_path / "cache"), [BALL], where=tmp_path)


# Killed, raced, shared


def test_a_killed_preparation_is_harmless(tmp_path, cases):
    (whole,) = prepare(cases[:1], preparation(), tmp_path / "elsewhere")
    left = tmp_path / "cache" / f".0123abcd.{whole.folder.name}"
    left.mkdir(parents=True)
    (left / "image.b2nd").write_bytes(b"half a scan")
    (ready,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    assert ready.folder == tmp_path / "cache" / whole.folder.name
    for index in range(ready.shape[0]):
        for got, expected in zip(ready.slice(index), whole.slice(index), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_an_interrupted_preparation_leaves_nothing_and_starts_anew(tmp_path, cases, monkeypatch):
    def interrupt(path, value):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(cases, preparation(), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(prepare(cases, preparation(), tmp_path / "cache")) == 2


def test_another_run_that_finishes_first_wins(tmp_path, cases, monkeypatch):
    (theirs,) = prepare(cases[:1], preparation(), tmp_path / "theirs")
    replace = os.replace

    def late(source, target):
        if str(target).endswith(theirs.folder.name):
            shutil.copytree(theirs.folder, target)
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", late)
    (ready,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    np.testing.assert_array_equal(ready.pixels, theirs.pixels)
    assert list((tmp_path / "cache").iterdir()) == [ready.folder]


def test_a_prepared_case_is_copied_without_its_open_files(tmp_path, cases):
    (ready,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    index = ready.shape[0] // 2
    expected = ready.slice(index)
    copy = pickle.loads(pickle.dumps(ready))
    assert vars(copy) == {"name": "c0", "folder": ready.folder, "scheme": ready.scheme}
    np.testing.assert_array_equal(copy.slice(index)[0], expected[0])


class RandomSlices:
    """Slices of many cases in no order, as training reads them."""

    def __init__(self, ready, count):
        rng = np.random.default_rng(0)
        self.ready = ready
        self.picks = [(c, int(rng.integers(ready[c].shape[0]))) for c in rng.integers(len(ready), size=count)]

    def __len__(self):
        return len(self.picks)

    def __getitem__(self, item):
        case, index = self.picks[item]
        return self.ready[case].slice(index)


def test_two_processes_read_the_same_random_slices_as_one(tmp_path, cases):
    slices = RandomSlices(prepare(cases, preparation(), tmp_path / "cache"), count=40)
    alone = list(DataLoader(slices, batch_size=None, num_workers=0))  # opens the files here before they are shared
    shared = list(DataLoader(slices, batch_size=None, num_workers=2))
    assert len(alone) == len(shared) == 40
    assert len({float(image.sum()) for image, _ in alone}) > 10
    for (image, target), (shared_image, shared_target) in zip(alone, shared, strict=True):
        assert image.equal(shared_image)
        assert target.equal(shared_target)


def test_a_slice_is_one_chunk_on_disk(tmp_path, cases):
    (ready,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    for name in ("image.b2nd", "target.b2nd"):
        stored = blosc2.open(str(ready.folder / name), mode="r")
        assert stored.shape == ready.shape
        assert stored.chunks == (1, *ready.shape[1:])


def test_channels_are_prepared_as_each_alone(tmp_path):
    root = tmp_path / "data"
    make_sphere_cases(root, 3, affine=AFFINES["oblique"])
    images = [root / "images" / f"c{i}.nii.gz" for i in range(3)]
    label = root / "labels" / "c0.nii.gz"
    alone = [Case(name="one", image=image, label=label) for image in images]
    together = Case(name="all", image=images[0], more=tuple(images[1:]), label=label)
    maps = (Window(lower=-60.0, upper=160.0), Percentiles(), Window(lower=0.0, upper=50.0))
    parts = [
        prepare([case], preparation(intensity=own), tmp_path / "cache")[0]
        for case, own in zip(alone, maps, strict=True)
    ]
    (ready,) = prepare([together], preparation(intensity=PerChannel(each=maps)), tmp_path / "cache")
    assert ready.channels == 3
    assert ready.shape == parts[0].shape
    for index in range(ready.shape[0]):
        expected = np.concatenate([part.slice(index)[0] for part in parts])
        np.testing.assert_array_equal(ready.slice(index)[0], expected)
        near = np.concatenate([ready.slice(max(index - 1, 0))[0], expected])
        np.testing.assert_array_equal(ready.slice(index, neighbours=1)[0][:6], near)
    np.testing.assert_array_equal(ready.pixels, parts[0].pixels)


def test_the_percentiles_are_those_of_each_channel_as_its_file_holds_it(tmp_path):
    values = np.arange(1, 1002, dtype=np.int16).reshape(13, 11, 7)
    for name, array in (("a", values), ("b", 1000 - 3 * values), ("c", np.zeros_like(values))):
        make_scan(
            tmp_path / "images" / f"{name}.nii.gz", np.pad(array, 4, constant_values=-2000 * (name != "c")), np.eye(4)
        )
    make_scan(tmp_path / "labels" / "a.nii.gz", np.pad(values > 500, 4).astype(np.uint8), np.eye(4))
    first, *more = [tmp_path / "images" / f"{name}.nii.gz" for name in "abc"]
    case = Case(name="case", image=first, more=tuple(more), label=tmp_path / "labels" / "a.nii.gz")
    rising = np.array([1 + 10 * p for p in PERCENTILES])
    for number, settings in enumerate((preparation(), preparation(intensity=Percentiles(), spacing_mm=(2.0, 3.0)))):
        (ready,) = prepare([case], settings, tmp_path / str(number))
        assert ready.percentiles[0] == pytest.approx(rising)
        assert ready.percentiles[1] == pytest.approx(1000 - 3 * rising[::-1], abs=3)  # 1000 − 3·1 is the top
        assert ready.percentiles[2] is None


def test_a_case_that_a_version_of_before_prepared_has_none_and_is_not_made_again(tmp_path, cases):
    (first,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    assert first.percentiles is not None
    facts = read_json(first.folder / "case.json")
    del facts["percentiles"]
    write_json(first.folder / "case.json", facts)
    before = states(first.folder)
    (again,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    assert again.percentiles is None
    assert again.shape == first.shape
    assert states(first.folder) == before


@pytest.mark.parametrize("percentiles", [5, [5], [[1, 2, 3]], [["1"] * 7]])
def test_percentiles_of_another_form_are_told(tmp_path, cases, percentiles):
    (ready,) = prepare(cases[:1], preparation(), tmp_path / "cache")
    write_json(ready.folder / "case.json", read_json(ready.folder / "case.json") | {"percentiles": percentiles})
    with pytest.raises(UserError, match=r"\$\.percentiles.*case\.json.*Remove that folder"):
        _ = ready.percentiles


def test_another_second_channel_makes_another_folder(tmp_path, cases):
    pair = [replace(cases[0], more=(cases[1].image,)), replace(cases[0], more=(cases[0].image,))]
    ready = prepare([cases[0], *pair], preparation(), tmp_path / "cache")
    assert len({one.folder for one in ready}) == 3


def test_another_crop_is_refused():
    with pytest.raises(ValueError, match="crop to be none or body"):
        Preparation(grid=ModelGrid(), intensity=Percentiles(), structures=(BALL,), crop="head")
