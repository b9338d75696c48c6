"""What is printed to be typed again is read as it was meant."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from segfocal.typed_words import line, option

PLACES = ["runs/x", "/data/a b (old)/x", "it's", "é/ä", "a=b", "{a: 1}", "[1,2]", "c:\\d\\", "\\'", "a,b", "x#y", "~/x"]


@pytest.mark.parametrize("place", PLACES)
def test_any_place_is_read_back_by_shell_and_hydra(place):
    words = shlex.split(line(["segfocal", "predict", option("bundle", place)]))
    (override,) = OverridesParser.create().parse_overrides(words[2:])
    assert (words[:2], override.key_or_group, override.value()) == (["segfocal", "predict"], "bundle", place)


def test_a_plain_place_stays_as_it_is():
    assert line([option("bundle", "runs/x/bundle")]) == "bundle=runs/x/bundle"
