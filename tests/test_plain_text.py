"""Text of others acts on nothing that shows it."""

import pytest

from segfocal.errors import UserError
from segfocal.plain_text import visible

HINDI = "\u0928\u094d\u200d\u0928"  # with a mark that joins letters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("liver", "liver"),
        (f"Leber, groß; 肝; {HINDI}", f"Leber, groß; 肝; {HINDI}"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("scan\u202egz.iin", "scan\\u202egz.iin"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("a\ud800b", "a\\ud800b"),
        ("a\rb\tc\0", "a\\rb\\tc\\x00"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_would_act_is_spelt_out(text, shown):
    assert visible(text) == shown
    shown.encode("utf-8")


def test_lines_end_only_where_they_may():
    assert visible("a\nb") == "a\nb"
    assert visible("a\nb", lines=False) == "a\\nb"


def test_an_error_shows_names_of_the_data_as_text():
    error = UserError(expected="a scan", found="\x1b]0;title\x07", where="\u202ex", do="mend it")
    assert "\x1b" not in str(error)
    assert "\u202e" not in str(error)


def test_what_is_not_there_is_named_and_not_looked_into():
    error = UserError(expected="a JSON file", found="no such file", where="a.json", do="check the path")
    assert str(error) == "expected a JSON file; found no such file: a.json. Check the path."
