"""What a folder holds: every command that reads one says what it passed over, and its record holds it."""

import json

import numpy as np
import pytest

from tests.random_bundle import MODEL, image, make_bundle
from tests.scans import AFFINES, make_scan, make_sphere_case
from tests.system.commands import SMALL, segfocal

SAID = "passed over: 1 label that no image belongs to: labels/stray.nii.gz"
ROW = {"reason": "label_without_image", "count": 1, "first": ["labels/stray.nii.gz"]}


@pytest.fixture
def folder(tmp_path):
    """Three cases and a label without an image."""
    for number in range(3):
        make_sphere_case(tmp_path / "data", f"c{number}", shape=(21, 19, 5), seed=number)
    _, stray = make_sphere_case(tmp_path / "other", "stray", shape=(21, 19, 5), seed=9)
    stray.rename(tmp_path / "data" / "labels" / "stray.nii.gz")
    return tmp_path / "data"


def options(folder, *more):
    return ["data=folder", f"data.root={folder}", f"cache={folder.parent}/prepared", *more]


TRAIN = (*SMALL, "train.steps=1", "train.device=cpu")
SHOW = [word for word in SMALL if not word.startswith(("model.", "train."))]


def test_prepare_and_show_augment_say_it(folder, tmp_path, monkeypatch, capfd):
    assert segfocal(monkeypatch, "prepare", *options(folder, *SHOW)) == 0
    assert capfd.readouterr().err.count(SAID) == 1
    assert segfocal(monkeypatch, "show-augment", *options(folder, *SHOW, f"output={tmp_path}/a.png", "samples=1")) == 0
    assert capfd.readouterr().err.count(SAID) == 1


def test_train_says_it_and_its_summary_holds_it(folder, tmp_path, monkeypatch, capfd):
    assert segfocal(monkeypatch, "train", *options(folder, *TRAIN, f"hydra.run.dir={tmp_path}/run")) == 0
    assert capfd.readouterr().err.count(SAID) == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["passed_over"] == [ROW]


def test_fingerprint_and_doctor_say_it_and_their_records_hold_it(folder, tmp_path, monkeypatch, capfd):
    asked = ["data=folder", f"data.root={folder}", "target=1", f"output={tmp_path}/fingerprint"]
    assert segfocal(monkeypatch, "fingerprint", *asked) == 0
    assert capfd.readouterr().err.count(SAID) == 1
    assert json.loads((tmp_path / "fingerprint" / "fingerprint.json").read_text())["passed_over"] == [ROW]
    assert segfocal(monkeypatch, "doctor", f"data.root={folder}", f"output={tmp_path}/doctor", "modality=other") == 0
    assert capfd.readouterr().err.count(SAID) == 1
    report = json.loads((tmp_path / "doctor" / "doctor.json").read_text())
    assert report["passed_over"] == [ROW]
    assert [one["case"] for one in report["findings"] if one["check"] == "label_without_image"] == ["stray"]


def test_predict_of_a_folder_says_it_and_the_manifest_holds_it_once(random_bundle, tmp_path, monkeypatch, capfd):
    make_scan(tmp_path / "scans" / "a.nii.gz", image(1)).rename(tmp_path / "scans" / "a.NII.GZ")
    (tmp_path / "scans" / "old.nrrd").touch()
    (tmp_path / "scans" / "up").symlink_to("..")
    command = ["predict", f"bundle={random_bundle}", f"input={tmp_path}/scans", f"output={tmp_path}/scans/masks"]
    for _ in range(2):
        assert segfocal(monkeypatch, *command) == 0
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("passed over")]
        assert lines == [
            "passed over: 1 file of a format that is not read: old.nrrd",
            "passed over: 1 link to a folder that is read already: up",
        ]
    text = (tmp_path / "scans" / "masks" / "manifest.jsonl").read_text()
    (entry,) = [entry for entry in map(json.loads, text.splitlines()) if entry["state"] == "passed over"]
    assert [row["reason"] for row in entry["passed_over"]] == ["other_format", "link_again"]
    assert (tmp_path / "scans" / "masks" / "a.nii.gz").is_file()  # its ending as every other mask's


def test_evaluate_of_folders_says_it_and_its_record_holds_it(tmp_path, monkeypatch, capfd):
    for place, name in (("r", "a"), ("r", "b"), ("p", "a"), ("p", "b"), ("p", "c"), ("p/old", "a")):
        make_scan(tmp_path / place / f"{name}.nii.gz", np.ones((3, 4, 5), np.uint8))
    (tmp_path / "p" / "x.mha").touch()
    asked = [f"prediction={tmp_path}/p", f"reference={tmp_path}/r", f"output={tmp_path}/out", "pictures=0"]
    assert segfocal(monkeypatch, "evaluate", *asked) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("passed over")]
    assert lines == [
        "passed over: 1 scan outside of where cases are looked for: old",
        "passed over: 1 file of a format that is not read: x.mha",
        "passed over: 1 prediction without a reference: c.nii.gz",
    ]
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())["passed_over"]
    assert [(row["reason"], row["first"]) for row in record] == [
        ("outside", ["old"]),
        ("other_format", ["x.mha"]),
        ("no_reference", ["c.nii.gz"]),
    ]


def missing_channel(root):
    for name in ("a_0000", "a_0001", "b_0001", "b_0002"):
        make_scan(root / "imagesTr" / f"{name}.nii.gz", image(1), AFFINES["RAS"])
    for name in "ab":
        make_scan(root / "labelsTr" / f"{name}.nii.gz", np.ones(image(1).shape, np.uint8), AFFINES["RAS"])
    facts = {"labels": {"background": 0, "x": 1}, "channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts))
    return root


@pytest.mark.parametrize("command", ["train", "prepare", "show-augment", "fingerprint"])
def test_a_case_without_its_first_channel_is_one_line(command, tmp_path, monkeypatch, capfd):
    root = missing_channel(tmp_path / "data")
    place = f"hydra.run.dir={tmp_path}/run" if command == "train" else f"output={tmp_path}/out.png"
    asked = options(root, "target=1", place)
    asked = [one for one in asked if command != "fingerprint" or not one.startswith("cache=")]
    asked = [one for one in asked if command != "prepare" or not one.startswith("output=")]
    assert segfocal(monkeypatch, command, *asked) == 1
    error = capfd.readouterr().err
    assert "0001, 0002 of b: 0000 is missing" in error
    assert error.count("\n") == 1


def test_the_doctor_finds_a_case_without_its_first_channel(tmp_path, monkeypatch):
    root = missing_channel(tmp_path / "data")
    assert segfocal(monkeypatch, "doctor", f"data.root={root}", f"output={tmp_path}/doctor", "modality=other") == 1
    findings = json.loads((tmp_path / "doctor" / "doctor.json").read_text())["findings"]
    (found,) = [one for one in findings if one["check"] == "case_list"]
    assert found["case"] == "b"
    assert "0000 is missing" in found["found"]


def test_predict_names_the_channel_that_a_scan_lacks(tmp_path, monkeypatch, capfd):
    root = missing_channel(tmp_path / "data")
    bundle = make_bundle(tmp_path / "bundle", config=MODEL | {"channels": 2}, channels=2)
    asked = [f"bundle={bundle}", f"input={root}/imagesTr", f"output={tmp_path}/masks"]
    segfocal(monkeypatch, "predict", *asked)
    out = capfd.readouterr().out
    assert "b.nii.gz: expected channel 0000 of b.nii.gz; found b_0001.nii.gz without it" in out
    assert (tmp_path / "masks" / "a.nii.gz").is_file()
    assert not (tmp_path / "masks" / "b.nii.gz").exists()


def test_predict_with_one_channel_says_that_files_of_several_are_taken_apart(
    random_bundle, tmp_path, monkeypatch, capfd
):
    root = missing_channel(tmp_path / "data")
    asked = [f"bundle={random_bundle}", f"input={root}/imagesTr", f"output={tmp_path}/masks"]
    segfocal(monkeypatch, "predict", *asked)
    assert "note: a_0000.nii.gz and a_0001.nii.gz are segmented each by itself" in capfd.readouterr().err


def test_an_option_with_a_nul_is_one_line(tmp_path, monkeypatch, capfd):
    (tmp_path / "odd.yaml").write_text('defaults: [train]\ndata: {root: "a\\0b"}\n')
    assert segfocal(monkeypatch, "train", "--config-dir", tmp_path, "--config-name=odd") == 1
    error = capfd.readouterr().err
    assert error.startswith("error: expected data.root without a NUL")
    assert error.count("\n") == 1


def test_a_command_that_reads_a_folder_several_times_says_it_once(folder, tmp_path, monkeypatch, capfd):
    asked = options(folder, *TRAIN, "train.steps=5", "seed=0,1", "train.dry_run=true")
    asked += [f"hydra.sweep.dir={tmp_path}/sweep"]
    assert segfocal(monkeypatch, "train", "-m", *asked) == 0
    assert capfd.readouterr().err.count(SAID) == 1
