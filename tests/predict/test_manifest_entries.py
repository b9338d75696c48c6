"""The manifest of many scans: ours is read, cut lines included; another program's is one line."""

import hashlib
import json

import pytest

from segfocal.errors import UserError
from segfocal.predict.manifest_entries import end_last_line, entry_at, headings_from, short_of

DONE = {
    "name": "a.nii.gz",
    "state": "done",
    "input": ["a", 1, 2],
    "signature": "5",
    "sha256": {"a": "0"},
    "seconds": 1.5,
}


def last_of_each(path):
    return {head.name: entry_at(path, head.start, head.name) for head in headings_from(path)}


def written(tmp_path, *lines):
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (tmp_path / "manifest.jsonl").write_text("\n".join(texts) + "\n")
    return tmp_path / "manifest.jsonl"


def test_the_last_line_of_each_scan_counts_and_lines_of_before_have_no_hashes(tmp_path):
    old = {key: value for key, value in DONE.items() if key != "sha256"}
    other = old | {"name": "b\u2028c\x85.nii", "state": "failed", "message": "cut short", "input": ["b", None, None]}
    path = written(tmp_path, old | {"state": "begun"}, other, old)
    assert last_of_each(path) == {"a.nii.gz": old, other["name"]: other}


def test_a_line_that_a_kill_cut_short_is_passed_over_and_the_next_is_one_of_its_own(tmp_path):
    path = written(tmp_path, DONE)
    with path.open("a") as file:
        file.write(json.dumps(DONE | {"name": "b"})[:40])
    assert last_of_each(path) == {"a.nii.gz": DONE}
    end_last_line(path)
    end_last_line(path)  # once is enough
    with path.open("a") as file:
        file.write(json.dumps(DONE | {"name": "c"}) + "\n")
    assert set(last_of_each(path)) == {"a.nii.gz", "c"}


@pytest.mark.parametrize(
    "line",
    ['{"image": "a.nii.gz", "label": "b.nii.gz"}', "[1, 2]", "3", "null", "image,label", "[" * 100_000, "\x00\x01",
     DONE | {"name": 5}, DONE | {"input": "a"}, DONE | {"sha256": ["a"]}, DONE | {"state": None},
     DONE | {"state": "failed"}, DONE | {"signature": {}}],
)  # fmt: skip
def test_a_line_of_another_program_is_one_line(tmp_path, line):
    with pytest.raises(UserError, match="move that file away") as told:
        last_of_each(written(tmp_path, DONE, line))
    assert "\n" not in str(told.value)
    assert "line 2" in str(told.value)


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path):
    path, other = written(tmp_path, DONE), json.dumps(DONE | {"name": "b"})
    with path.open("a") as file:
        file.write(other)
    (first,) = headings_from(path, growing=True)
    line = json.dumps(DONE).encode() + b"\n"
    whole = hashlib.blake2b(line, digest_size=8).digest()
    assert first == ("a.nii.gz", "done", "5", short_of(["a", 1, 2]), whole, 0, len(line))
    with path.open("a") as file:
        file.write("\n")
    assert [(one.name, one.end) for one in headings_from(path, first.end, growing=True)] == [("b", path.stat().st_size)]


def test_a_plain_line_and_one_that_is_parsed_have_one_heading(tmp_path):
    names = ("a.nii.gz", "é.nii", 'b"c.nii')
    entries = [
        DONE | {"name": name, "input": [name, None, 2], "state": state} for name in names for state in ("done", "begun")
    ]
    plain = list(headings_from(written(tmp_path, *entries)))
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(one | {"more": {}}) + "\n" for one in entries))
    parsed = list(headings_from(tmp_path / "manifest.jsonl"))
    assert [one[:4] for one in plain] == [one[:4] for one in parsed]
    assert [one.input for one in plain] == [short_of(entry["input"]) for entry in entries]
