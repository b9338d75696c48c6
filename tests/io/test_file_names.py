"""Names that a list writes one way and a disk another are the same file; names that no file can have are one line."""

import unicodedata

import pytest

from segfocal.errors import UserError
from segfocal.io.file_names import composed, listed_file


def apart(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("é/lésion.nii.gz", apart("é/lésion.nii.gz")),
        (apart("é/lésion.nii.gz"), "é/lésion.nii.gz"),
        ("é/x.nii.gz", "é/x.NII.GZ"),
        ("é/../é/x.nii", "é/x.NII"),
    ],
)
def test_a_name_in_another_writing_is_found(tmp_path, listed, there):
    path = tmp_path / there
    path.parent.mkdir()
    path.touch()
    assert listed_file(tmp_path, listed, where=tmp_path).samefile(path)


def test_the_exact_name_goes_first_and_of_several_alike_none_is_taken(tmp_path):
    for name in ("x.NII", "x.Nii"):
        (tmp_path / name).touch()
    assert listed_file(tmp_path, "x.nii", where=tmp_path) == tmp_path / "x.nii"
    (tmp_path / "x.nii").touch()
    assert listed_file(tmp_path, "x.nii", where=tmp_path) == tmp_path / "x.nii"


def test_other_stems_are_other_files(tmp_path):
    (tmp_path / "X.nii").touch()
    assert not listed_file(tmp_path, "x.nii", where=tmp_path).exists()


def test_a_nul_is_told(tmp_path):
    with pytest.raises(UserError, match=r"found a NUL in 'a\\x00b' in list\.csv"):
        listed_file(tmp_path, "a\0b", where="list.csv")


def test_accents_are_composed():
    assert composed(apart("é")) == "é"
