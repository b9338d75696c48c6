"""`segfocal fingerprint`: its files, its messages, and that the sweep it suggests runs as it stands."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from segfocal.cli.app import demo_data
from tests.scans import make_sphere_case
from tests.system.commands import segfocal

TWO_STEPS = ["train.steps=2", "train.validate_every=0", "train.device=cpu", "train.batch_size=2", "augment=none"]
SMALL_NET = ["model.widths=[8,16,16]"]


@pytest.fixture
def measured(spheres, tmp_path, monkeypatch, capfd):
    """The folder of a fingerprint of the spheres, and what was printed."""
    options = ["data=csv", f"data.root={spheres}", "target=1", f"output={tmp_path / 'out'}"]
    assert segfocal(monkeypatch, "fingerprint", *options) == 0
    return tmp_path / "out", capfd.readouterr().out


def sweep(folder, tmp_path, *options):
    where = ["--config-dir", folder, "experiment=suggested", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    return [*where, f"cache={tmp_path / 'cache'}", *TWO_STEPS, *SMALL_NET, *options]


def test_a_fingerprint_is_a_table_numbers_a_page_and_a_sweep(measured):
    folder, printed = measured
    found = json.loads((folder / "fingerprint.json").read_text())
    row = found["structures"]["label_1"]
    assert found["cases"] == 2  # the training ones
    assert 0 < row["voxel_share"] < 0.5
    assert f"{100 * row['voxel_share']:.4f}" in printed
    assert f"sweep: {found['command']}" in printed
    page = (folder / "fingerprint.html").read_text()
    assert all(one["option"] in page for one in found["suggestions"])
    assert "http" not in page.replace("http-equiv", "")  # needs nothing from outside
    text = (folder / "experiment" / "suggested.yaml").read_text()
    written = yaml.safe_load(text)
    for one in found["suggestions"]:
        if one["option"].startswith("data."):
            assert written["data"][one["option"].removeprefix("data.")] == one["value"]
        assert one["why"][:40] in text  # the reason stands above its line
    assert max(map(len, text.splitlines())) <= 120 or str(folder.parent) in text


def test_the_suggested_sweep_runs_as_it_stands(measured, tmp_path, monkeypatch):
    folder, _ = measured
    options = sweep(folder, tmp_path, "sweep.alpha=[0.25,0.5]", "sweep.gamma=[0]")
    assert segfocal(monkeypatch, "train", *options) == 0
    rows = list(csv.DictReader((tmp_path / "sweep" / "comparison" / "results.csv").open()))
    assert [row["status"] for row in rows] == ["finished"] * 2


@pytest.mark.slow
def test_every_run_of_a_sweep_suggested_for_the_demo_runs(tmp_path, monkeypatch):
    options = ["target=[aorta,liver]", f"output={tmp_path / 'out'}"]
    assert segfocal(monkeypatch, "fingerprint", *options) == 0
    assert segfocal(monkeypatch, "train", *sweep(tmp_path / "out", tmp_path)) == 0
    rows = list(csv.DictReader((tmp_path / "sweep" / "comparison" / "results.csv").open()))
    assert [row["status"] for row in rows] == ["finished"] * 9


def test_results_are_not_replaced_unasked(measured, spheres, monkeypatch, capfd):
    folder, _ = measured
    options = ["data=csv", f"data.root={spheres}", "target=1", f"output={folder}"]
    before = (folder / "fingerprint.json").read_bytes()
    assert segfocal(monkeypatch, "fingerprint", *options, "far_mm=3") == 1
    assert "overwrite=true" in capfd.readouterr().err
    assert (folder / "fingerprint.json").read_bytes() == before
    assert segfocal(monkeypatch, "fingerprint", *options, "far_mm=3", "overwrite=true") == 0
    assert json.loads((folder / "fingerprint.json").read_text())["far_mm"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["split=all_of_them"], "split of all, train, val, test"),
        (["far_mm=-1"], "far_mm ≥ 0"),
        (["workers=0"], "workers to be a whole number ≥ 1"),
        (["target=null"], "target=1, or data.label_names"),
        (["target=7"], "expected a voxel of some target"),
        (["split=test"], "cases of the split test"),
        (["data.frame=SPX"], "frame"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(options, said, spheres, tmp_path, monkeypatch, capfd):
    start = ["data=csv", f"data.root={spheres}", "target=1", f"output={tmp_path / 'out'}"]
    assert segfocal(monkeypatch, "fingerprint", *start, *options) == 1
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "fingerprint.json").exists()


def test_a_case_that_cannot_be_read_is_named(tmp_path, monkeypatch, capfd):
    for n in range(2):
        image, _ = make_sphere_case(tmp_path / "data", f"c{n}")
    image.write_bytes(b"no scan")
    options = ["data=folder", f"data.root={tmp_path / 'data'}", "target=1", "split=all", f"output={tmp_path / 'out'}"]
    assert segfocal(monkeypatch, "fingerprint", *options) == 1
    error = capfd.readouterr().err
    assert "1 that are not; c1" in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_the_demo_scans_of_every_structure_name(tmp_path, monkeypatch, capfd):
    assert segfocal(monkeypatch, "fingerprint", f"output={tmp_path / 'out'}") == 0
    found = json.loads((tmp_path / "out" / "fingerprint.json").read_text())
    names = json.loads((Path(demo_data()) / "label_names.json").read_text())["ct"]
    assert set(found["structures"]) == set(names.values())
    assert "no voxel of " in capfd.readouterr().out
