"""Preparing many cases: side by side as one by one, whole or not at all, and nothing left behind by a kill."""

import os
import shutil
import signal
from collections import namedtuple

import numpy as np
import pytest
from omegaconf import OmegaConf

from segfocal.cli.prepare import training_cases
from segfocal.cli.training_plan import build_plan
from segfocal.data.cases import read_cases
from segfocal.data.store import prepare as preparing
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.cli.test_configs import composed
from tests.forked import run_forked
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


def prepare_and_die(cases, cache, workers):
    """Prepare cases in a process that is killed when the image of the third is there and its target is not."""
    store, stored = preparing.blosc2.asarray, []

    def killing(array, **options):
        store(array, **options)
        stored.append(options["urlpath"])
        if len(stored) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    preparing.blosc2.asarray = killing
    prepare(cases, SETTINGS, cache, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_run_again_it_equals_an_undisturbed_run(tmp_path, cases, workers):
    assert run_forked(prepare_and_die, cases, tmp_path / "cache", workers) == -signal.SIGKILL
    left = list((tmp_path / "cache").iterdir())
    assert any(path.name.startswith(".") for path in left)  # the workplace of the killed run
    ready = {path for path in left if not path.name.startswith(".")}
    assert len(ready) < len(cases)
    before = {path: path.stat().st_mtime_ns for path in ready}
    prepare(cases, SETTINGS, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in ready} == before  # not made again
    prepare(cases, SETTINGS, tmp_path / "undisturbed")
    assert contents(tmp_path / "cache") == contents(tmp_path / "undisturbed")


# The command

OPTIONS = ["intensity=percentiles", "target=1", "data.spacing_mm=[2,1.5]", "data.window=64", "data=csv"]


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
