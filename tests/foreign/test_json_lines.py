"""JSONL files: parted at line ends alone, read a line at a time, in any Unicode with a mark."""

import json

import pytest

from segfocal.errors import UserError
from segfocal.foreign.door import Limits, parse_json
from segfocal.foreign.json_lines import json_lines, placed_lines


def test_lines_of_json_are_parted_at_line_ends_alone(tmp_path):
    rows = [{"name": "a\u2028b\x85c"}, {"name": "d"}]
    (tmp_path / "x").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n\n")
    assert [parse_json(line, where=place) for line, place in json_lines(tmp_path / "x")] == rows
    assert [place for _, place in json_lines(tmp_path / "x")] == [
        f"{tmp_path / 'x'}, line 1",
        f"{tmp_path / 'x'}, line 2",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_lines_are_read_in_any_unicode_that_a_mark_names(tmp_path, encoding):
    (tmp_path / "x").write_text('{"a": "é"}\n\n{"a": 2}', encoding=encoding, newline="")
    assert [(parse_json(line, where=""), place[-6:]) for line, place in json_lines(tmp_path / "x")] == [
        ({"a": "é"}, "line 1"),
        ({"a": 2}, "line 3"),
    ]


def test_each_line_begins_where_it_is_said_to(tmp_path):
    (tmp_path / "x").write_bytes("é\n\nabc\nd".encode())
    assert list(placed_lines(tmp_path / "x")) == [(0, "é\n".encode()), (3, b"\n"), (4, b"abc\n"), (8, b"d")]


def test_bytes_that_are_no_text_are_found_where_they_lie(tmp_path):
    (tmp_path / "x").write_bytes(b'{"a": 1}\n{"b": "\xff"}\n')
    lines = json_lines(tmp_path / "x")
    assert next(lines)[0] == '{"a": 1}'
    with pytest.raises(UserError, match="no UTF-8 from byte 16 on"):
        next(lines)


@pytest.mark.parametrize("data", [b"1\n" * 1024 * 600, b"1" * 1200 * 1024])
def test_no_line_and_no_sum_of_lines_is_beyond_the_limit(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match="at most 1 MiB"):
        list(json_lines(tmp_path / "x", Limits(mebibytes=1)))


def test_the_rest_of_a_line_that_is_written_meanwhile_is_no_line(tmp_path):
    (tmp_path / "x").write_bytes(b"one\ntw")
    lines = placed_lines(tmp_path / "x")
    assert [next(lines), next(lines)] == [(0, b"one\n"), (4, b"tw")]
    with (tmp_path / "x").open("ab") as file:
        file.write(b"o\nthree\n")
    assert list(lines) == []
