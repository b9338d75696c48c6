"""Outputs stay apart from inputs and from each other, and have the permissions of any new file."""

import csv
import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segfocal.errors import Fault, UserError
from segfocal.files import (
    check_apart,
    check_regular,
    claim,
    claims_recorded,
    read_json,
    remove_unfinished,
    write_json,
    write_table,
    written_beside,
)
from segfocal.plain_names import fit_name, slug

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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_permissions_of_the_users_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        with written_beside(tmp_path / "a.safetensors") as temporary:
            save_file({"a": torch.ones(2)}, temporary)  # which makes its file with 0600
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "a.safetensors": mode,
        "a.json": mode,
    }


def test_pipes_devices_sockets_and_folders_are_refused_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    named = {"pipe": "a pipe", "link": "a pipe", "socket": "a socket", ".": "a folder", "/dev/zero": "a device"}
    for name, found in named.items():
        with pytest.raises(UserError, match=f"expected names; found {found} in") as told:
            check_regular(tmp_path / name, expected="names")
        assert told.value.fault is Fault.NO_FILE
        with pytest.raises(UserError, match=f"expected a JSON file; found {found} in"):
            read_json(tmp_path / name)


def test_files_links_to_files_and_what_is_not_there_pass(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cycle").symlink_to(tmp_path / "cycle")
    for name in ("a", "link", "lost", "cycle", "none", "nul\0"):
        check_regular(tmp_path / name)


@pytest.mark.parametrize("name", ["liver", "alpha=0.1,gamma=2.0", "Leber_größe", "focal+dice-1"])
def test_a_plain_name_is_its_own_slug(name):
    assert slug(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "a\nb", "x" * 97, "ü" * 60, "${x}", "<b>", "-rf", "a b", "\ud800"]
)
def test_any_other_name_becomes_a_short_safe_one_of_its_own(name):
    found = slug(name)
    assert re.fullmatch(r"[\w=+][\w.,=+-]*", found)
    assert len(found.encode()) <= 96
    assert found != slug(name + "_")
    assert slug(found) == found


@pytest.mark.parametrize("text", ["=1+1", "+cmd|'/c calc'!A1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\uff1d1"])
def test_text_in_a_table_is_no_formula(tmp_path, text):
    write_table(tmp_path / "a.csv", [{"case": text, text: 1}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["case", f"'{text}"], [f"'{text}", "1"]]


def test_numbers_in_a_table_stay_numbers(tmp_path):
    row = {"a": -1.5, "b": "-2", "c": "+3e-5", "d": "-.5", "e": float("-inf"), "f": None, "g": "liver-1", "h": "-inf"}
    write_table(tmp_path / "a.csv", [row])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == ["-1.5", "-2", "+3e-5", "-.5", "-inf", "", "liver-1", "-inf"]


@pytest.mark.parametrize("name", ["liver", "left kidney", "Leber groß", "a.b", "x=1"])
def test_a_name_that_a_file_can_have_stays(name):
    assert fit_name(name) == name


HOSTILE = ["../x", "a/b", "", ".", "..", "-rf", "a\0b", "x" * 300, "ü" * 200, "a.", "a\nb", "a\u202eb", "C:x", "a?*"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_no_file_should_have_becomes_one_inside_the_folder(tmp_path, name):
    place = tmp_path / f"{fit_name(name)}_0000.nii.gz"
    place.write_bytes(b"a")
    assert place.parent == tmp_path
    assert not place.name.startswith((".", "-"))


def test_hostile_names_stay_apart():
    assert len({fit_name(name) for name in HOSTILE}) == len(HOSTILE)


def test_no_file_that_is_read_lies_in_a_folder_that_is_filled(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="a file in it that is read"):
        check_apart([], [tmp_path / "b" / "scans" / "a.nii"], folders=[tmp_path / "link" / "b"])
    check_apart([], [tmp_path / "bb" / "a.nii"], folders=[tmp_path / "b"])


def test_a_null_character_in_a_name_is_one_line(tmp_path):
    with pytest.raises(UserError, match="null character"):
        check_apart([tmp_path / "a\0b"], [])


def test_what_a_killed_command_had_claimed_is_its_own_and_nothing_else_is(tmp_path):
    out = tmp_path / "out"
    names = ["a.json", "b.json"]
    claims = [out / name for name in names]
    with suppress(KeyboardInterrupt), claims_recorded():
        claim(claims, [], overwrite=False)
        write_json(out / "a.json", 1)
        raise KeyboardInterrupt
    (out / "c.json").write_text("the user's")
    with claims_recorded():
        claim([out / name for name in names], [], overwrite=False)
        write_json(out / "a.json", 2)
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "c.json"]
    for name in ("a.json", "c.json"):
        with pytest.raises(UserError, match="overwrite=true"):
            claim([out / name], [], overwrite=False)


def test_without_a_command_nothing_is_recorded(tmp_path):
    claim([tmp_path / "a.json"], [], overwrite=False)
    write_json(tmp_path / "a.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000])
def test_a_damaged_record_of_claims_lets_nothing_be_replaced(text, tmp_path):
    (tmp_path / ".segfocal_unfinished.json").write_text(text)
    (tmp_path / "a.json").write_text("the user's")
    with pytest.raises(UserError, match="overwrite=true"):
        claim([tmp_path / "a.json"], [], overwrite=False)


def test_a_file_is_there_also_by_way_of_a_folder_that_is_yet_to_be_made(tmp_path):
    (tmp_path / "a.json").write_text("the user's")
    for path in (tmp_path / "new" / ".." / "a.json", tmp_path / "a.json"):
        with pytest.raises(UserError, match="overwrite=true"):
            claim([path], [], overwrite=False)


def test_a_second_name_of_an_input_is_seen_through_a_folder_that_is_not_there_yet(tmp_path):
    scan = tmp_path / "a.nii.gz"
    scan.write_bytes(b"scan")
    (tmp_path / "a.png").hardlink_to(scan)
    with pytest.raises(UserError, match="the same file as input and output"):
        check_apart([tmp_path / "new" / ".." / "a.png"], [scan])


def test_what_a_killed_writer_left_goes_and_nothing_else(tmp_path):
    kept = (".0123abcd.other.nii.gz", ".mine.a.nii.gz", ".0123ABCD.a.nii.gz", "a.nii.gz", ".0123abcd.a.nii.gz.bak")
    for name in (".0123abcd.a.nii.gz", ".fedc9876.a.nii.gz", *kept):
        (tmp_path / name).touch()
    remove_unfinished([tmp_path / "a.nii.gz", tmp_path / "none" / "b.nii.gz"])
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_the_name_of_what_is_written_is_one_that_is_taken_away(tmp_path):
    with written_beside(tmp_path / "a.nii.gz") as temporary:
        temporary.touch()
        remove_unfinished([tmp_path / "a.nii.gz"])
        assert not temporary.exists()
        temporary.touch()
