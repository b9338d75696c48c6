"""Names of the data in what a command prints: no colours, no escape sequences, no errors of markup."""

import pytest

from segfocal.cli.evaluate import print_table
from segfocal.engine.progress import StepProgress

NAMES = ["[red]liver", "[/red]", "\x1b[31mliver", "a\u202eb", "[link=http://a]b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_brackets_is_shown_as_it_is(name, capsys):
    with StepProgress(total=1, done=0) as progress:
        progress.step(1, f"{name} read")
        progress.note(name)
    print_table([{"case": name, name: 0.5}])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    shown = name.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert said.count(shown) == 4
