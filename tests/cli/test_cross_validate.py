"""What cross-validate and auto refuse before any work: folders that hold what is read, or others' files."""

import pytest
from omegaconf import OmegaConf

from segfocal.cli.cross_validate import claim_folder
from segfocal.errors import UserError
from tests.scans import make_sphere_case, make_sphere_cases
from tests.system.commands import segfocal

COMMANDS = ("auto", "cross-validate")


def asked(command, root, output, *more):
    data = "data=folder" if command == "auto" else "data=csv"
    return [data, f"data.root={root}", "target=1", f"output={output}", f"cache={output}/prepared", *more]


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_with_files_of_others_is_left_alone(command, tmp_path, monkeypatch, capfd):
    root = make_sphere_cases(tmp_path / "data")
    (tmp_path / "mine" / "predictions").mkdir(parents=True)
    (tmp_path / "mine" / "predictions" / "c0.nii.gz").write_bytes(b"by hand")
    before = files_of(tmp_path)
    assert segfocal(monkeypatch, command, *asked(command, root, tmp_path / "mine")) == 1
    assert "one with predictions" in capfd.readouterr().err
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["predictions", "references", "bundle", "fold_1", "doctor"])
def test_no_folder_that_is_filled_holds_a_file_that_is_read(command, place, tmp_path, monkeypatch, capfd):
    root = make_sphere_cases(tmp_path / "out" / place)
    (tmp_path / "out" / "splits.json").write_text("{}")
    before = files_of(tmp_path)
    options = asked(command, root, tmp_path / "out", "overwrite=true")
    assert segfocal(monkeypatch, command, *options) == 1
    assert "outputs beside the inputs" in capfd.readouterr().err
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_the_data_folder_as_output_is_refused(command, tmp_path, monkeypatch, capfd):
    root = make_sphere_cases(tmp_path / "data")
    before = files_of(tmp_path)
    assert segfocal(monkeypatch, command, *asked(command, root, tmp_path / "data")) == 1
    assert "error: expected" in capfd.readouterr().err
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["summary.json", "splits.json", "auto.json"])
def test_a_file_of_a_name_that_is_written_too_does_not_make_a_folder_ours(command, name, tmp_path, monkeypatch, capfd):
    root = make_sphere_cases(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{}")
    before = files_of(tmp_path)
    assert segfocal(monkeypatch, command, *asked(command, root, tmp_path / "mine")) == 1
    assert f"one with {name}" in capfd.readouterr().err
    assert files_of(tmp_path) == before


def test_a_kill_at_any_moment_leaves_a_folder_that_the_same_command_goes_on_in_and_no_other(tmp_path):
    """It was known by what is written later: killed before that, the doctor's folder barred the way."""
    root = make_sphere_cases(tmp_path / "data")
    data = {"root": str(root), "label_names": None, "folds": 2}
    config = OmegaConf.create({"data": data, "overwrite": False, "cache": str(tmp_path / "cache")})
    claim_folder(config, tmp_path / "out", command="auto")
    (tmp_path / "out" / "doctor").mkdir()  # and killed here
    claim_folder(config, tmp_path / "out", command="auto")
    with pytest.raises(UserError, match="one with doctor"):
        claim_folder(config, tmp_path / "out", command="cross-validate")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_target_that_one_case_alone_has_is_told_before_any_training(command, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "data"
    make_sphere_case(folder, "c0")
    make_sphere_case(folder, "c1", radius_mm=0)
    make_sphere_case(folder, "c2", radius_mm=0)
    root = [
        "data=folder",
        f"data.root={folder}",
        "target=1",
        f"output={tmp_path / 'out'}",
        f"cache={tmp_path / 'cache'}",
    ]
    assert segfocal(monkeypatch, command, *root) == 1
    said = capfd.readouterr().err
    assert "expected label_1 in the training cases of every fold; found it in 1 of 3 cases (c0)" in said
    assert not (tmp_path / "out" / "fold_0").exists()
    assert not (tmp_path / "out" / "race").exists()
