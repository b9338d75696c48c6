"""Folders that a user may not write to: an output there is one line before any work, an input there is read."""

import os

import pytest

from tests.forked import can_give_up_rights, give_up_rights, run_command
from tests.system.every_command import CASES, COMMANDS, IMAGE, LABEL, MORE, PROMPTS, make_place

ALL = COMMANDS | MORE
QUICK = ("compare", "predict")
READING = ("doctor", "evaluate", "fingerprint", "predict", "prepare", "train")
ANOTHER = 65534  # a user's number
pytestmark = pytest.mark.skipif(not can_give_up_rights(), reason="root, which may write anywhere")


def marked(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def lock(place):
    """Let anyone read a folder and all in it, and nobody write; of root's, by giving it to another user."""
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.getuid() == 0:
            os.chown(path, ANOTHER, ANOTHER)


def unlock(place):
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A locked folder of scans, runs, a bundle and weights, and a folder `locked` in it."""
    folder = make_place(tmp_path_factory.mktemp("places") / "place")
    (folder / "locked").mkdir()
    (folder / "p.json").write_text('[{"slice": 1, "points": [[2, 2]], "labels": [1]}]')
    lock(folder)
    yield folder
    unlock(folder)


@pytest.fixture
def broken(base):
    """The same with a scan and a label that are cut short, which is told when work begins."""
    whole = {base / name: (base / name).read_bytes() for name in (IMAGE, LABEL)}
    for path, content in whole.items():
        unlock(path)
        path.write_bytes(content[: len(content) // 2])
        lock(path)
    yield base
    for path, content in whole.items():
        unlock(path)
        path.write_bytes(content)
        lock(path)


def run_without_rights(folder, command, scratch):
    return run_command(folder, command, scratch, first=give_up_rights)


def files(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("out", ["locked", "locked/new/deep"])
@pytest.mark.parametrize("name", marked(ALL, QUICK))
def test_an_output_in_a_locked_folder_is_one_line_before_any_work(name, out, broken, tmp_path):
    before = files(broken)
    done = run_without_rights(broken, ALL[name](out), tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    assert "locked" in line
    assert "ermission" in line
    assert files(broken) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate_prompts", *CASES, *PROMPTS, "hydra.run.dir=OUT/p", "cache=OUT/c", "embeddings=locked/e"],
        ["predict", "bundle=bundle", f"input={IMAGE}", "output=OUT/a.nii.gz", "prompts=p.json", "session=locked/s"],
        ["auto", *CASES, "target=1", "minutes=9", "output=OUT/auto", "cache=locked/c"],
        ["weights", "get", "lite_medsam"],  # its cache lies in a home folder that cannot be
        ["doctor", "data.root=data/cases.csv"],  # its output lies beside the data
        ["compare", "runs"],
        ["fingerprint", *CASES, "target=1", "output=OUT/f", "data.folds=2", "data.fold=0", "cache=locked/c"],
    ],
    ids=lambda command: command[0],
)
def test_other_places_that_a_command_fills_are_asked_before_any_work(command, base, tmp_path):
    before = files(base)
    done = run_without_rights(base, [word.replace("OUT", str(tmp_path / "out")) for word in command], tmp_path)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: expected a place to write to"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "downloading" not in done.stdout
    assert files(base) == before
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", marked(READING, ("evaluate",)))
def test_inputs_that_cannot_be_written_beside_are_read(name, base, tmp_path):
    before = files(base)
    done = run_without_rights(base, ALL[name](tmp_path / "out"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").iterdir())
    assert files(base) == before


@pytest.mark.slow
def test_an_export_into_a_folder_of_ones_own_in_a_locked_one(tmp_path):
    place = make_place(tmp_path / "place")
    lock(place)
    for name in ("empty", "full"):
        place.chmod(0o755)
        (place / name).mkdir()
        if name == "full":
            (place / name / "notes.txt").write_text("mine")
        place.chmod(0o555)
        done = run_without_rights(place, COMMANDS["export"](name), tmp_path)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in (place / name).iterdir()} >= {"model.onnx", "model.json", "parity.json"}
        assert not list((place / name).glob(".*"))
    unlock(place)


@pytest.mark.slow
def test_slices_that_are_ready_in_a_locked_cache_are_used(tmp_path):
    place = make_place(tmp_path / "place")
    command = [*COMMANDS["prepare"]("cache")]
    assert run_without_rights(place, command, tmp_path).returncode == 0
    lock(place)
    done = run_without_rights(place, command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 ready before" in done.stdout
    picture = [word for word in MORE["show_augment"](tmp_path) if not word.startswith("cache=")]
    done = run_without_rights(place, [*picture, "cache=cache"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "samples.png").is_file()
    unlock(place)


@pytest.mark.slow
def test_an_export_into_the_working_folder_itself(tmp_path):
    place = make_place(tmp_path / "place")
    done = run_without_rights(place, COMMANDS["export"]("."), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (place / "model.onnx").is_file()
