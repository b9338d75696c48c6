"""Preparing many cases: side by side as one by one, whole or not at all, and nothing left behind by a kill."""

import shutil
import signal
import subprocess
import sys
import textwrap
from collections import namedtuple

import numpy as np
import pytest
from omegaconf import OmegaConf

from segfocal.cli.prepare import training_cases
from segfocal.cli.training_plan import build_plan
from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.data.store import cache as caches
from segfocal.data.store import prepare as preparing
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.intensity import Percentiles, Window
from segfocal.io import nifti
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.cli.test_configs import composed
from tests.scans import AFFINES, make_scan, make_sphere_cases
from tests.system.commands import segfocal

BALL = Structure(name="ball", value=1)
SETTINGS = Preparation(
    grid=ModelGrid(spacing_mm=(1.3, 0.8)), intensity=Window(lower=-60.0, upper=160.0), structures=(BALL,)
)


@pytest.fixture
def cases(tmp_path):
    return list(read_cases(make_sphere_cases(tmp_path / "data", 6, affine=AFFINES["oblique"])).cases)


def contents(cache):
    """Return the bytes of every file in a cache, hidden ones too."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_side_by_side_is_as_one_by_one_to_the_last_byte(tmp_path, cases):
    alone = prepare(cases, SETTINGS, tmp_path / "alone")
    together = prepare(cases, SETTINGS, tmp_path / "together", workers=3)
    assert [ready.name for ready in together] == [ready.name for ready in alone] == [case.name for case in cases]
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


@pytest.mark.parametrize("workers", [1, 3])
def test_every_broken_case_is_named_and_the_others_are_prepared(tmp_path, cases, workers):
    cases[1].image.write_bytes(cases[1].image.read_bytes()[:300])
    make_scan(cases[4].label, np.zeros((5, 6, 7), dtype=np.uint8), AFFINES["oblique"])
    with pytest.raises(UserError, match=r"(?s)found 2 that cannot:.*c[14]\.nii\.gz.*c[14]\.nii\.gz.*others? .*prep"):
        prepare(cases, SETTINGS, tmp_path / "cache", workers=workers)
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()) == ["c0", "c2", "c3", "c5"]


def test_what_is_shown_begins_with_the_room_they_take_and_counts_up(tmp_path, cases):
    seen = []
    prepare(cases, SETTINGS, tmp_path / "cache", workers=2, shown=lambda *said: seen.append(said))
    assert [said[:2] for said in seen] == [(done, 6) for done in range(7)]
    assert "free" in seen[0][2]
    assert sorted(text for _, _, text in seen[1:]) == [case.name for case in cases]
    prepare(cases, SETTINGS, tmp_path / "cache", shown=lambda *said: seen.append(said))
    assert len(seen) == 7  # nothing was left to do


def test_a_disk_without_room_is_told_before_anything_is_read(tmp_path, cases, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    monkeypatch.setattr(preparing, "read_pair", None)
    with pytest.raises(UserError, match=r"expected room for about .* of prepared slices; found 0 MiB free in .*cache"):
        prepare(cases, SETTINGS, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fills_up_stops_the_rest(tmp_path, cases, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preparing.blosc2, "asarray", full)
    said = []
    with pytest.raises(UserError, match=r"expected room to prepare the slices of a case; found .*No space left"):
        prepare(cases, SETTINGS, tmp_path / "cache", shown=lambda *words: said.append(words))
    assert len(said) == 1
    assert list((tmp_path / "cache").iterdir()) == []


# Killed

KILLED = """
import os, signal, sys
from pathlib import Path
from segfocal.structure import Structure
from segfocal.data.store import prepare as preparing
from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.resample import ModelGrid

settings = Preparation(
    grid=ModelGrid(spacing_mm=(1.3, 0.8)),
    intensity=Window(lower=-60.0, upper=160.0),
    structures=(Structure(name="ball", value=1),),
)
store, stored = preparing.blosc2.asarray, []
def killing(array, **options):
    store(array, **options)
    stored.append(options["urlpath"])
    if len(stored) == 5:  # the image of the third case is there, its target is not
        os.kill(os.getpid(), signal.SIGKILL)
preparing.blosc2.asarray = killing
preparing.prepare(read_cases(sys.argv[1]).cases, settings, Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_in_the_middle_and_run_again_it_equals_an_undisturbed_run(tmp_path, cases, workers):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "data" / "cases.csv", tmp_path / "cache"]
    assert subprocess.run([*map(str, command), str(workers)], check=False).returncode == -signal.SIGKILL
    left = list((tmp_path / "cache").iterdir())
    assert any(path.name.startswith(".") for path in left)  # the workplace of the killed run
    ready = {path for path in left if not path.name.startswith(".")}
    assert len(ready) < len(cases)
    before = {path: path.stat().st_mtime_ns for path in ready}
    prepare(cases, SETTINGS, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in ready} == before  # not made again
    prepare(cases, SETTINGS, tmp_path / "undisturbed")
    assert contents(tmp_path / "cache") == contents(tmp_path / "undisturbed")


def test_the_workplace_of_a_run_that_lives_is_left_alone(tmp_path):
    with caches.workplace(tmp_path) as mine:
        (mine / "half a case").mkdir()
        with caches.workplace(tmp_path) as other:
            assert (mine / "half a case").is_dir()
            assert other != mine
    assert list(tmp_path.iterdir()) == []


# Stale


def test_a_case_is_stale_once_a_file_has_changed_or_gone(tmp_path, cases):
    prepared = prepare(cases, SETTINGS, tmp_path / "cache")
    assert caches.stale(tmp_path / "cache") == []
    assert caches.stale(tmp_path / "nothing") == []
    shutil.copy(cases[1].image, cases[0].image)
    cases[2].label.unlink()
    (prepared[3].folder / caches.META).write_text('{"case": "c3", "shape": [1, 1, 1]}')  # of an older version
    stale = caches.stale(tmp_path / "cache")
    assert stale == [prepared[0].folder, prepared[2].folder, prepared[3].folder]
    caches.remove(stale)
    assert sorted((tmp_path / "cache").iterdir()) == [prepared[n].folder for n in (1, 4, 5)]


# The box of the body


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


def test_another_crop_is_refused():
    with pytest.raises(ValueError, match="crop to be none or body"):
        Preparation(grid=ModelGrid(), intensity=Percentiles(), structures=(BALL,), crop="head")


# Where structures are


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


# The command

OPTIONS = ["intensity=percentiles", "target=1", "data.spacing_mm=[2,1.5]", "data=csv"]


@pytest.mark.parametrize("more", [[], ["data.crop=body"], ["data.hold_out=0.5", "data.split_seed=3"], ["target=other"]])
def test_training_finds_what_the_command_prepares(tmp_path, cases, more):
    root = f"data.root={tmp_path}/data/cases.csv"
    names = "data.label_names={1:ball,2:other}"
    plan = build_plan(composed("train", *OPTIONS, root, names, *more))
    chosen, preparation = training_cases(
        OmegaConf.to_container(composed("prepare", *OPTIONS, root, names, *more), resolve=True)
    )
    assert preparation == plan.preparation
    assert chosen == list(plan.cases.of("train"))


def test_the_command_prepares_says_so_and_prunes(tmp_path, cases, monkeypatch, capsys):
    options = [*OPTIONS, "data.hold_out=0", f"data.root={tmp_path}/data/cases.csv", f"cache={tmp_path}/cache"]
    assert segfocal(monkeypatch, "prepare", *options) == 0
    said = capsys.readouterr().out
    assert "preparing 6 cases: about" in said
    assert "6 cases: 6 prepared in" in said
    assert "a random slice: " in said
    shutil.copy(cases[1].label, cases[0].label)
    assert segfocal(monkeypatch, "prepare", *options) == 0
    said = capsys.readouterr().out
    assert "6 cases: 1 prepared in" in said
    assert "5 ready before" in said
    assert "1 stale case in" in said
    assert len(list((tmp_path / "cache").iterdir())) == 7
    assert segfocal(monkeypatch, "prepare", *options, "prune=true") == 0
    assert "removed: 1 stale case" in capsys.readouterr().out
    assert len(list((tmp_path / "cache").iterdir())) == 6


@pytest.mark.parametrize("option", ["workers=0", "workers=half", "prune=1", "data.crop=head"])
def test_a_wrong_option_is_told_in_one_line(tmp_path, cases, monkeypatch, capsys, option):
    root = f"data.root={tmp_path}/data/cases.csv"
    assert segfocal(monkeypatch, "prepare", *OPTIONS, root, f"cache={tmp_path}/cache", option) == 1
    said = capsys.readouterr().err
    assert option.split("=")[0] in said
    assert "Traceback" not in said
    assert not (tmp_path / "cache").exists()
