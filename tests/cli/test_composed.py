"""Options of a program become the config that a command line makes of them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from segfocal.cli.composed import composed, override
from segfocal.cli.config_errors import nearest_key

VALUES = [
    None, True, 3, 0.25, 1e-5, "liver", "left kidney", "it's", "a\\b", "ends in \\", "a\\'b", "null", "1", "x=1,2",
    "[a]", "", ["liver", "left kidney"], {"kidneys": [2, 3]}, {"a b": {"c": None}}, "~/scans", "αβ", "a:b",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_arrives_as_it_is(value):
    read = OverridesParser.create().parse_override(override("bundle", value))
    assert read.key_or_group == "bundle"
    assert read.value() == value


def test_a_mapping_and_a_command_line_make_one_config():
    by_name = composed("train", {"loss": "focal+dice", "target": ["liver", "spleen"], "train.steps": 7})
    typed = composed("train", ["loss=focal+dice", "target=[liver,spleen]", "train.steps=7"])
    assert by_name.overrides == typed.overrides
    assert by_name.config == typed.config
    assert by_name.choices["loss"] == "focal+dice"
    assert "hydra" not in by_name.config


@pytest.mark.parametrize(
    ("key", "near"), [("train.stpes", "train.steps"), ("steps", "train.steps"), ("trian.steps", "train.steps")]
)
def test_the_nearest_key_is_found_also_without_its_group(key, near):
    assert nearest_key(key, ["train", "train.steps", "data.root", "seed"]) == near
