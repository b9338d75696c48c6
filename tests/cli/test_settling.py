"""The options of every command at the door: values of the wrong kind, paths in the home folder, options taken away."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.cli.option_table import kinds_of_options
from segfocal.cli.settling import settle
from segfocal.errors import UserError

COMMANDS = sorted(path.stem for path in conf_folder().glob("*.yaml"))
HANDLED_ELSEWHERE = {"target", "sweep"}  # each has a reader of its own


def settled(*overrides, command="train"):
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config = compose(command, overrides=list(overrides))
    settle(config, command, overrides)
    return config


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("loss.terms.dice.batch=no", False),
        ("loss.anatomy=off", False),
        ("task.plan.keep=no", False),
        ("task.recompute=yes", True),
        ("augment.per_channel=on", True),
        ("train.tf32=no", False),
        ("data.stratify=yes", True),
        ("weights.resize=no", False),
        ("overwrite=yes", True),
        ("loss.compile=off", False),
    ],
)
def test_a_switch_in_words_is_a_switch_wherever_it_stands(option, found):
    assert OmegaConf.select(settled(option), option.split("=")[0]) is found


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("loss.terms.dice.batch=maybe", "loss.terms.dice.batch to be true or false; found 'maybe'"),
        ("task.plan.keep=2", "task.plan.keep to be true or false; found 2"),
        ("task.first.none=true", "task.first.none to be a number; found True"),
        ("loss.terms.focal.gamma='2'", "loss.terms.focal.gamma to be a number or"),
        ("loss.terms.dice.smooth=.nan", "loss.terms.dice.smooth to be a number; found"),
        ("model.depth=2.5", "model.depth to be a whole number; found 2.5"),
        ("augment.rotate=true", "augment.rotate to be a number; found True"),
        ("intensity.lower=low", "intensity.lower to be a number; found 'low'"),
        ("seed=true", "seed to be a whole number from 0 to 4294967295; found True"),
        ("seed=4294967296", "seed to be a whole number from 0 to 4294967295; found 4294967296"),
        ("seed=-1", "seed to be a whole number from 0 to 4294967295; found -1"),
        ("seed=1.5", "seed to be a whole number from 0 to 4294967295; found 1.5"),
        ("seed=null", "seed to be a whole number from 0 to 4294967295; found None"),
        ("train.lr=fast", "train.lr to be auto or a number; found 'fast'"),
        ("train.lr=nan", "train.lr to be auto or a number; found nan"),
        ("train.lr=inf", "train.lr to be auto or a number; found inf"),
        ("train.batch_size=true", "train.batch_size to be a whole number; found True"),
        ("data.window=[32.5,32]", "data.window to be auto or a whole number or [a whole number, …]; found [32.5, 32]"),
        ("data.overlap=perhaps", "data.overlap to be true or false; found 'perhaps'"),
        ("data.root=3", "data.root to be a path; found 3"),
    ],
)
def test_a_value_of_another_kind_is_one_line_that_names_the_option(option, words):
    with pytest.raises(UserError) as refused:
        settled(option)
    assert str(refused.value).startswith(f"expected {words}")
    assert len(str(refused.value)) < 220
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("option", ["loss", "model", "task", "data", "augment", "intensity", "train", "seed", "cache"])
def test_an_option_that_is_needed_cannot_be_taken_away(option):
    with pytest.raises(UserError, match=f"the option {option}, which this command needs; found ~{option}"):
        settled(f"~{option}")


def test_a_term_of_a_loss_can_be_taken_away():
    config = settled("~loss.terms.dice", "~loss.weights.dice")
    assert set(config.loss.terms) == {"focal"}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "data.root"),
        ("train", "data.splits"),
        ("train", "data.label_names"),
        ("train", "cache"),
        ("train", "resume"),
        ("train", "model.weights"),
        ("train", "task.embeddings"),
        ("predict", "bundle"),
        ("predict", "input"),
        ("predict", "output"),
        ("predict", "prompts"),
        ("predict", "session"),
        ("evaluate", "prediction"),
        ("evaluate", "reference"),
        ("evaluate", "probabilities"),
        ("export", "scan"),
        ("doctor", "output"),
        ("fingerprint", "output"),
        ("show_augment", "output"),
        ("evaluate_prompts", "bundle"),
        ("prepare", "data.root"),
    ],
)
def test_a_path_in_the_home_folder_is_there_for_every_command(command, option, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/me")
    config = settled(f"{option}='~/x y/z'", command=command)
    assert OmegaConf.select(config, option) == "/home/of/me/x y/z"


def test_several_paths_in_the_home_folder_are_there(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/me")
    assert list(settled("bundle=['~/a','b/~']", command="predict").bundle) == ["/home/of/me/a", "b/~"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_switch_number_and_path_of_a_config_has_a_kind(command):
    kinds = kinds_of_options(command)
    file = OmegaConf.to_container(OmegaConf.load(Path(conf_folder()) / f"{command}.yaml"))
    missing = [key for key, value in file.items() if isinstance(value, bool) and key not in kinds]
    places = ("output", "bundle", "input", "cache", "root", "embeddings", "session", "prediction", "reference")
    missing += [key for key in file if key in places and key not in kinds]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_of_every_command_are_of_their_kinds(command):
    config = settled(*["output=made"] * (command == "auto"), command=command)  # its cache lies there
    before = OmegaConf.to_container(config)
    settle(config, command)
    assert OmegaConf.to_container(config) == before


@pytest.mark.parametrize("group", ["augment", "intensity", "model", "task", "loss", "imbalance", "experiment"])
def test_every_choice_of_a_group_is_of_its_kinds(group):
    for path in sorted((conf_folder() / group).glob("*.yaml")):
        settled(f"{group}={path.stem}")
