"""What nobody read is counted by reasons, a line each, in words that a terminal does not obey."""

import numpy as np

from segfocal.io.passed_over import PassedOver, Reason, left_over, lines, rows
from tests.pictures import make_png
from tests.scans import make_scan


def of(reason, *paths):
    return [PassedOver(path=path, reason=reason) for path in paths]


def test_a_line_a_reason_with_the_first_names(tmp_path):
    labels = [tmp_path / f"{letter}.nii.gz" for letter in "abcd"]
    passed = [*of(Reason.NO_LABEL, tmp_path / "p1"), *of(Reason.LABEL_WITHOUT_IMAGE, *labels)]
    assert lines(passed, tmp_path) == [
        "passed over: 4 labels that no image belongs to: a.nii.gz, b.nii.gz, c.nii.gz …",
        "passed over: 1 folder with an image and no label: p1",
    ]
    assert lines([], tmp_path) == []


def test_a_record_counts_all_and_names_twenty(tmp_path):
    (row,) = rows(of(Reason.NOT_LISTED, *(tmp_path / f"{n:02d}.nii" for n in range(30))), tmp_path)
    assert (row["reason"], row["count"], row["first"][0], len(row["first"])) == ("not_listed", 30, "00.nii", 20)


def test_a_name_cannot_command_a_terminal_or_begin_a_line(tmp_path):
    (line,) = lines(of(Reason.OUTSIDE, tmp_path / "a\x1b[2J\nb\udc80é.nii"), tmp_path)
    assert line.endswith(r"a\x1b[2J\nb\udc80é.nii")


def test_what_is_left_in_a_folder_has_its_reason(tmp_path):
    used = make_scan(tmp_path / "used.nii", np.zeros((1, 1, 1), np.uint8))
    make_scan(tmp_path / "other.nii", np.zeros((1, 1, 1), np.uint8)).rename(tmp_path / "other.NII")
    make_png(tmp_path / "view.png", np.zeros((1, 1), np.uint8))
    for name in ("old.nrrd", "notes.txt", ".hidden.nii", "photo.JPG"):
        (tmp_path / name).touch()
    found = {one.path.name: one.reason for one in left_over(tmp_path, [used], Reason.NOT_LISTED)}
    assert found == {
        "other.NII": Reason.NOT_LISTED,
        "view.png": Reason.PREVIEW,
        "photo.JPG": Reason.PREVIEW,
        "old.nrrd": Reason.OTHER_FORMAT,
    }


def test_a_used_file_is_known_by_any_way_to_its_folder(tmp_path):
    (tmp_path / "a").mkdir()
    make_scan(tmp_path / "a" / "x.nii", np.zeros((1, 1, 1), np.uint8))
    (tmp_path / "link").symlink_to("a")
    assert left_over(tmp_path / "a", [tmp_path / "link" / ".." / "link" / "x.nii"], Reason.NOT_LISTED) == []


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert left_over(tmp_path / "none", [], Reason.OUTSIDE) == []
