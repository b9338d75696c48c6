"""`segfocal evaluate` on folders: a table, a page, and exit code 1 when a case could not be judged."""

import csv

import pytest
from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.scans import make_sphere_cases
from tests.system.commands import segfocal


@pytest.fixture
def folder(tmp_path):
    make_sphere_cases(tmp_path, count=3)
    (tmp_path / "masks").mkdir()
    for path in (tmp_path / "labels").iterdir():
        (tmp_path / "masks" / path.name.replace(".nii.gz", "_0000.nii.gz")).write_bytes(path.read_bytes())
    return tmp_path


def options(folder, *others):
    return [f"prediction={folder}/masks", f"reference={folder}/labels", f"image={folder}/images", *others]


def test_a_folder_is_judged_and_summed_up(folder, monkeypatch, capfd):
    assert segfocal(monkeypatch, "evaluate", *options(folder)) == 0
    out = capfd.readouterr().out
    assert "label_1" in out
    assert "1.000" in out
    output = folder / "masks_evaluation"
    assert [row["case"] for row in csv.DictReader((output / "metrics.csv").open())] == ["c0", "c1", "c2"]
    for name in ("summary.csv", "metrics.json", "report.html"):
        assert (output / name).stat().st_size > 0
    assert len(list((output / "overlays").glob("*.png"))) == 3


def test_a_value_that_is_nowhere_is_one_warning(folder, monkeypatch, capfd):
    one = [f"prediction={folder}/masks/c0_0000.nii.gz", f"reference={folder}/labels/c0.nii.gz"]
    for places in (options(folder), one):
        command = [*places, "labels={spleen: 11, ball: 1, liver: 12}", "pictures=0"]
        assert segfocal(monkeypatch, "evaluate", *command) == 0
        shown = capfd.readouterr()
        (line,) = [line for line in shown.err.splitlines() if "warning" in line]
        assert "spleen (11), liver (12): left out of the means" in line
        assert "nowhere" in shown.out


def test_one_bad_file_is_told_at_the_end(folder, monkeypatch, capfd):
    (folder / "masks" / "c1_0000.nii.gz").write_bytes(b"garbage")
    assert segfocal(monkeypatch, "evaluate", *options(folder, f"output={folder}/out", "pictures=0")) == 1
    shown = capfd.readouterr()
    assert "1 that could not be judged: c1" in shown.err
    assert "Traceback" not in shown.err
    rows = list(csv.DictReader((folder / "out" / "metrics.csv").open()))
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]


def test_a_pattern_and_a_second_prediction(folder, monkeypatch, capfd):
    pattern = f"prediction={folder}/masks/c*_0000.nii.gz"
    command = [pattern, f"reference={folder}/labels", f"against={folder}/labels", "figures=overlap"]
    assert segfocal(monkeypatch, "evaluate", *command) == 0
    rows = list(csv.DictReader((folder / "masks" / "evaluation" / "comparison.csv").open()))
    assert all(row["equal"] == "3" and row["p"] == "" and "fewer than 6" in row["note"] for row in rows)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("workers=0", "workers"),
        ("pictures=-1", "pictures"),
        ("metrics=[hd]", "overlap, surface, lesions"),
        ("against=nowhere", "nowhere"),
        ("image=labels", "labels"),
    ],
)
def test_mistakes_are_one_message(folder, option, words, monkeypatch, capfd):
    monkeypatch.chdir(folder / "images")
    assert segfocal(monkeypatch, "evaluate", *[*options(folder)[:2], option]) == 1
    error = capfd.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_the_config_holds_the_defaults_of_the_classes():
    config = OmegaConf.to_container(OmegaConf.load(conf_folder() / "evaluate.yaml"))
    fields = {**MaskEvaluation.__dataclass_fields__, **EvaluationSettings.__dataclass_fields__}
    fields["metrics"] = fields["groups"]
    skipped = {
        "prediction",
        "reference",
        "output",
        "debug",
        "defaults",
        "hydra",
        "figures",
    }  # the last: an older spelling
    for key, value in config.items():
        if key not in skipped:
            default = fields[key].default
            assert value == (list(default) if isinstance(default, tuple) else default), key
