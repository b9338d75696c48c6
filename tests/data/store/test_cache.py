"""The cache: which prepared cases are stale, and that a run leaves the workplaces of others alone."""

import shutil

import pytest

from segfocal.data.cases import read_cases
from segfocal.data.store import cache as caches
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import AFFINES, make_sphere_cases

BALL = Structure(name="ball", value=1)
SETTINGS = Preparation(
    grid=ModelGrid(spacing_mm=(1.3, 0.8)), intensity=Window(lower=-60.0, upper=160.0), structures=(BALL,)
)


@pytest.fixture
def cases(tmp_path):
    return list(read_cases(make_sphere_cases(tmp_path / "data", 5, affine=AFFINES["oblique"])).cases)


def test_the_workplace_of_a_run_that_lives_is_left_alone(tmp_path):
    with caches.workplace(tmp_path) as mine:
        (mine / "half a case").mkdir()
        with caches.workplace(tmp_path) as other:
            assert (mine / "half a case").is_dir()
            assert other != mine
    assert list(tmp_path.iterdir()) == []


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
    assert sorted((tmp_path / "cache").iterdir()) == [prepared[n].folder for n in (1, 4)]
