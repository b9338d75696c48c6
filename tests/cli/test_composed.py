"""Options of a program become the config that a command line makes of them."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder
from segfocal.cli.composed import composed, override
from segfocal.cli.config_errors import nearest_key

VALUES = [
    None, True, 3, 0.25, 1e-5, "liver", "left kidney", "it's", "a\\b", "ends in \\", "a\\'b", "null", "1", "x=1,2",
    "[a]", "", ["liver", "left kidney"], {"kidneys": [2, 3]}, {"a b": {"c": None}}, "~/scans", "αβ", "a:b",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_arrives_as_it_is(value):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config = compose("predict", overrides=[override("bundle", value)])
    assert OmegaConf.to_container(config)["bundle"] == value


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
