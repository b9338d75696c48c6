"""JSON and YAML of others are read as data, or refused at once in one line that says where and why."""

import json
import os
import time

import pytest
from omegaconf import OmegaConf

from segfocal.errors import Fault, UserError
from segfocal.foreign.door import Limits, parse_json, parse_yaml, read_json, read_yaml, shown

STRICT = Limits()
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 9)}]\n" for n in range(30)
)


def refused(read, *arguments, **named):
    """Return the message of a refusal, which comes within a second and is one line."""
    began = time.process_time()
    with pytest.raises(UserError) as told:
        read(*arguments, **named)
    assert time.process_time() - began < 1
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, '"\\\\"' + "[" * 999]
)
def test_json_nested_deeply_is_refused_before_it_is_parsed(text):
    assert "at most 64 deep" in refused(parse_json, text, where="x.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "\n".join(" " * n + "a:" for n in range(99))]
)
def test_yaml_nested_deeply_is_refused(text):
    assert "at most 64 deep" in refused(parse_yaml, text, where="x.yaml")


def test_brackets_inside_text_are_no_nesting():
    value = ["[" * 1000, '"' + "{" * 100, "\\", '\\"[[[' * 50]
    assert parse_json(json.dumps(value), where="") == value


def test_quotes_without_end_take_no_longer_than_their_length():
    refused(parse_json, '"' + '\\"' * 2_000_000 + "[" * 100, where="x.json")


def test_lists_as_deep_as_the_limit_are_read():
    value = parse_json("[" * 64 + "]" * 64, where="")
    assert json.dumps(value) == "[" * 64 + "]" * 64


@pytest.mark.parametrize("read", [parse_json, parse_yaml])
@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, "9" * 21])
def test_a_number_of_too_many_digits_is_refused(read, number):
    assert "at most 20 digits" in refused(read, f'{{"a": {number}}}', where="x")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused_where_they_mean_nothing(number):
    assert "finite" in refused(parse_json, f"[{number}]", where="x", limits=STRICT)
    assert isinstance(parse_json(f"[{number}]", where="x")[0], float)  # a loss of ours may be


@pytest.mark.parametrize("read", [parse_json, parse_yaml])
def test_a_key_twice_is_refused(read):
    assert "'window' twice" in refused(read, '{"window": 1, "window": 2}', where="x")


@pytest.mark.parametrize("read", [parse_json, parse_yaml])
@pytest.mark.parametrize("text", ['["\\ud800"]', '{"\\udfff": 1}', '{"a": {"b": "\\ud83dx"}}'])
def test_half_of_a_surrogate_pair_is_refused(read, text):
    refused(read, text, where="x")


def test_a_surrogate_pair_is_one_character():
    assert parse_json('["\\ud83d\\ude00"]', where="") == ["\U0001f600"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_read(tmp_path, encoding):
    (tmp_path / "x").write_bytes('{"é": 1}'.encode(encoding))
    assert read_json(tmp_path / "x") == {"é": 1} == read_yaml(tmp_path / "x")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_is_no_text_file_is_one_line(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    (tmp_path / "cut").write_text('{"a": [')
    assert "a pipe" in refused(read, tmp_path / "pipe")
    assert "a device" in refused(read, type(tmp_path)("/dev/zero"))
    assert "a folder" in refused(read, tmp_path)
    assert "no such file" in refused(read, tmp_path / "absent")
    assert "UTF-8" in refused(read, tmp_path / "latin")
    refused(read, tmp_path / "cut")
    refused(read, tmp_path / "a\0b")
    refused(read, tmp_path / ("n" * 300))


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(20 << 30)  # holes only
    assert "at most 1 MiB; found 2.048e+04 MiB" in refused(read_yaml, tmp_path / "x")


def test_aliases_and_tags_of_yaml_are_refused():
    assert "alias *a0 in line 2" in refused(parse_yaml, BOMB, where="x")
    assert "alias *a in line 1" in refused(parse_yaml, "&a [*a]", where="x")
    assert "without tags" in refused(parse_yaml, "a: !!python/object/apply:os.mkdir [x]", where="x")
    assert "without tags" in refused(parse_yaml, "a: !!set {x}", where="x")
    refused(parse_yaml, "a: 1\n---\nb: 2\n", where="x")
    refused(parse_yaml, "? [a]\n: 1\n", where="x")
    refused(parse_yaml, "a: [1, 2\nb: 3", where="x")


@pytest.mark.parametrize(
    "value",
    [
        1e-05,
        1e20,
        0.1,
        1,
        -3,
        True,
        None,
        "yes",
        "1e-5",
        "2026-11-29",
        "012",
        "é\n# x",
        "",
        [],
        {},
        float("inf"),
        "{a}",
    ],
)
def test_yaml_is_read_as_omegaconf_writes_and_reads_it(tmp_path, value):
    config = OmegaConf.create({"a": value, "b": [value]})
    assert parse_yaml(OmegaConf.to_yaml(config), where="") == OmegaConf.to_container(config)


@pytest.mark.parametrize("text", ["1e-3", "1_000", "010", "0x1f", "2026-11-29", "1:30", ".5", "no", "~", "+.inf", "-1"])
def test_yaml_typed_by_hand_means_what_it_means_to_omegaconf(text):
    assert parse_yaml(f"a: {text}", where="") == OmegaConf.to_container(OmegaConf.create(f"a: {text}"))


def test_code_may_tell_damage_from_what_is_refused():
    with pytest.raises(UserError) as cut:
        parse_json('{"a": 1', where="x")
    with pytest.raises(UserError) as deep:
        parse_json("[" * 99, where="x")
    assert (cut.value.fault, deep.value.fault) == (Fault.DAMAGED, Fault.OTHER)


@pytest.mark.parametrize("value", ["x" * 10_000, [[1] * 1000] * 1000, {"a\nb": "\x1b[31m"}, "\ud800", 10**400])
def test_any_value_is_shown_in_one_short_line(value):
    line = shown(value)
    assert len(line) <= 90
    assert line.isprintable()
