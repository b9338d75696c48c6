"""Every YAML composes, and says exactly what the constructor it instantiates takes."""

import inspect
from dataclasses import asdict, fields

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, get_method
from omegaconf import OmegaConf

from segfocal import models
from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.engine.settings import TrainingSettings
from segfocal.models.sam.tiny import SamTinyOptions
from segfocal.models.sam.variants import VARIANTS
from segfocal.tasks import Promptable
from segfocal.tasks.prompt_training import PromptTraining
from tests import ROOT

CONF = conf_folder()
FILES = sorted(CONF.rglob("*.yaml"))
GIVEN_IN_PYTHON = {"model", "criterion", "validate"}
GIVEN_AT_THE_START = {"weights"}  # of a model: read once when training begins, never by the constructor
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # nn.Module's own constructor
# Choices: they differ from the defaults on purpose.
PRESETS = {"augment/light", "augment/strong", "intensity/ct_soft_tissue", "intensity/percentiles"}
PRESETS |= {"intensity/eight_bit", "intensity/per_channel"}
PRESETS |= {"task/interactive", "task/sam_med2d", "loss/term/focal", "loss/term/component_focal"}


def name_of(path):
    return str(path.relative_to(CONF).with_suffix(""))


def instantiating():
    found = []
    for path in FILES:
        raw = OmegaConf.to_container(OmegaConf.load(path))
        parts = {name_of(path): raw} | {f"{name_of(path)}.{k}": v for k, v in raw.items() if isinstance(v, dict)}
        found += [pytest.param(path, part, id=name) for name, part in parts.items() if "_target_" in part]
    return found


def composed(name="train", *overrides):
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose(name, overrides=list(overrides))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_config_opens_with_one_line_that_says_what_it_is(path):
    lines = [line for line in path.read_text().splitlines() if line != "# @package _global_"]
    assert lines[0].startswith("# ")
    assert not lines[1].startswith("#")


def constructor(target):
    try:
        return get_class(target)
    except ValueError:
        return get_method(target)


def defaults_of(built):
    """Return what a constructor takes from a config, with the defaults; some take the fields of a record."""
    if built is models.sam_tiny:
        return asdict(SamTinyOptions())
    if built is Promptable:
        options = PromptTraining()
        return {each.name: getattr(options, each.name) for each in fields(options)}
    if built.__name__ in VARIANTS:
        return VARIANTS[built.__name__].arguments()
    taken = inspect.signature(built).parameters
    return {k: v.default for k, v in taken.items() if k not in GIVEN_IN_PYTHON and v.kind not in VARIADIC}


def test_a_misspelt_option_of_a_model_is_refused():
    for target in models.ALLOWED:
        with pytest.raises(TypeError, match="unexpected keyword argument 'image_sise'"):
            models.build({"_target_": target, "image_sise": 32})


@pytest.mark.parametrize(("path", "raw"), instantiating())
def test_a_config_holds_the_arguments_of_its_constructor(path, raw):
    given = GIVEN_AT_THE_START if path.parent.name == "model" else ()
    raw = {key: value for key, value in raw.items() if key not in given}
    built = constructor(raw.pop("_target_"))
    defaults = defaults_of(built)
    assert set(raw) == set(defaults)
    raw = {key: value for key, value in raw.items() if (key, value) != ("prior", "auto")}  # None in Python
    if name_of(path) in PRESETS or path.stem == "sum":
        return
    for key, value in raw.items():
        if isinstance(value, dict) and "_target_" in value:  # its values are compared on their own
            assert defaults[key] == constructor(value["_target_"])()
        elif not (isinstance(value, str) and value.startswith("${")):
            default = defaults[key]
            assert value == (list(default) if isinstance(default, tuple) else default), key


def test_training_settings_are_the_defaults_of_the_class():
    assert (
        TrainingSettings(**OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml"))["train"]) == TrainingSettings()
    )


@pytest.mark.parametrize("group", ["augment", "intensity", "model", "task", "loss", "imbalance"])
def test_every_choice_of_a_group_composes(group):
    for path in sorted((CONF / group).glob("*.yaml")):
        config = composed("train", f"{group}={path.stem}")
        assert OmegaConf.to_container(config, resolve=True)


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=name_of)
def test_every_model_can_start_from_a_file(path):
    assert OmegaConf.load(path).weights in (None, "auto")


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=name_of)
def test_every_experiment_composes_to_something_else(path):
    chosen = OmegaConf.to_container(composed("train", f"experiment={path.stem}"), resolve=True)
    default = OmegaConf.to_container(composed("train"), resolve=True)
    assert chosen != default
    assert chosen.keys() - {"sweep"} == default.keys()


@pytest.mark.parametrize(
    ("choice", "terms"),
    [
        ("focal", {"focal"}),
        ("dice", {"dice"}),
        ("iou", {"iou"}),
        ("focal+dice", {"focal", "dice"}),
        ("focal+iou", {"focal", "iou"}),
        ("focal+dice+iou", {"focal", "dice", "iou"}),
        ("sam_med2d", {"focal", "dice", "iou_head"}),
        ("cross_entropy", {"cross_entropy"}),
        ("tversky", {"tversky"}),
        ("focal+tversky", {"focal", "tversky"}),
    ],
)
def test_a_loss_holds_the_terms_of_its_name(choice, terms):
    loss = composed("train", f"loss={choice}").loss
    assert set(loss.terms) == set(loss.weights) == terms


def test_sam_med2d_weighs_its_terms_twenty_one_one():
    assert dict(composed("train", "loss=sam_med2d").loss.weights) == {"focal": 20.0, "dice": 1.0, "iou_head": 1.0}


def test_the_configs_travel_inside_the_wheel():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'conf = "segfocal/conf"' in text


ALPHAS = [("loss=focal", 0.9), ("loss=focal+dice", 0.75), ("loss=sam_med2d", 0.25), ("imbalance=focal", 0.25)]


@pytest.mark.parametrize(("choice", "alpha"), ALPHAS)
def test_alpha_is_large_where_focal_stands_alone_and_the_papers_where_a_paper_is_followed(choice, alpha):
    assert composed("train", choice).loss.terms.focal.alpha == alpha


def test_remedies_are_judged_without_the_prior_but_where_it_is_the_remedy():
    names = [path.stem for path in (CONF / "imbalance").glob("*.yaml")]
    assert len(names) == 12
    for name in names:
        assert composed("train", f"imbalance={name}").model.prior == ("auto" if "prior" in name else None)
