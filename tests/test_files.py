"""Outputs of one command stay apart from its inputs and from each other, on file systems of both kinds."""

from pathlib import Path

import pytest

from segfocal.errors import UserError
from segfocal.files import check_apart

ACCENTED = ("caf\u00e9.nii", "cafe\u0301.nii")  # the same letters: composed, decomposed


@pytest.mark.parametrize("names", [("A.nii", "a.nii"), ACCENTED, ("Stra\u00dfe.nii", "STRASSE.nii")])
def test_names_alike_are_files_of_their_own_where_the_file_system_tells_them_apart(tmp_path, names):
    (tmp_path / names[0]).touch()
    if (tmp_path / names[1]).exists():
        pytest.skip("this file system takes the names for one")
    check_apart([tmp_path / name for name in names], [])
    assert [path.name for path in tmp_path.iterdir()] == [names[0]]  # no trace of the question


@pytest.mark.parametrize("names", [("A.nii", "a.nii"), ("S/x/a.nii", "s/x/a.nii"), ACCENTED])
def test_names_alike_are_refused_where_the_file_system_takes_them_for_one(tmp_path, monkeypatch, names):
    monkeypatch.setattr(Path, "exists", lambda self: True)  # as a file system answers that ignores case
    with pytest.raises(UserError, match="a file for each output"):
        check_apart([tmp_path / name for name in names], [])
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_need_not_be_there_yet(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="the same file as input and output"):
        check_apart([tmp_path / "link" / "a.json"], [tmp_path / "b" / ".." / "a.json"])
    check_apart([tmp_path / "a.json"], [tmp_path / "b.json", tmp_path])


def test_a_file_of_two_names_is_one_file(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"a scan")
    (tmp_path / "hard.nii").hardlink_to(tmp_path / "a.nii")
    with pytest.raises(UserError, match="the same file as input and output"):
        check_apart([tmp_path / "hard.nii"], [tmp_path / "a.nii"])
