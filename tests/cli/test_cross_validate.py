"""What cross-validate and auto refuse before any work: folders that hold what is read, or others' files."""

import pytest

from tests.scans import make_sphere_cases
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
