"""The suggested sweep: YAML that says what was meant, whatever the names in the data."""

import pytest
import yaml
from omegaconf import OmegaConf

from segfocal.fingerprint.page import DataChoice, sweep
from segfocal.fingerprint.suggestions import Suggestion
from segfocal.plain_names import slug

NAMES = ["liver", "a: b", "# no comment", "x\u2028evil: 1", "tab\tand 'quotes\"", "- item", "ümläut"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_data_stay_values(name):
    suggestions = [
        Suggestion(option="loss", value="focal+dice", why=f"{name} fills 1 %."),
        Suggestion(option="data.foreground", value=0.5, why=f"{name} is rare."),
        Suggestion(option="model.prior", value="auto", why=f"{name} fills 1 %."),
        Suggestion(option="loss.terms.focal.alpha", value=[0.25, 0.5], why=f"For {name}.", swept=True),
    ]
    options = {"root": f"/scans/{name}", "label_names": {1: name}, "foreground": 0.0}
    text = sweep(suggestions, target=[name, {name: [2, 3]}], names=[name], data=DataChoice("csv", options))
    assert yaml.safe_load(text) == {
        "defaults": [
            {"override /data": "csv"},
            {"override /loss": "focal+dice"},
            {"override /model": "unet"},
            {"override /task": "semantic"},
        ],
        "target": [name, {name: [2, 3]}],
        "data": options | {"foreground": 0.5},
        "model": {"prior": "auto"},
        "sweep": {"alpha": [0.25, 0.5], "seed": [0]},
        "resume": "auto",
        "hydra": {
            "mode": "MULTIRUN",
            "sweep": {
                "dir": f"runs/{slug(f'suggested_{name}')}",
                "subdir": "alpha=${loss.terms.focal.alpha},seed=${seed}",
            },
            "sweeper": {
                "params": {"loss.terms.focal.alpha": "${choices:${sweep.alpha}}", "seed": "${choices:${sweep.seed}}"}
            },
        },
    }


@pytest.mark.parametrize(
    "name", ["${seed}", "a${oc.env:HOME}", "\\${seed}", "\\\\${seed}", "../../x", "a/b", "x" * 300, "${", "$", "}"]
)
def test_names_of_the_data_are_no_interpolations_and_no_folders(name):
    suggestions = [
        Suggestion(option="model.prior", value="auto", why="1 %."),
        Suggestion(option="loss.terms.focal.alpha", value=[0.25, 0.5], why="1 %.", swept=True),
    ]
    options = {"root": f"/scans/{name}", "label_names": {1: name}}
    text = sweep(suggestions, target=[name, {name: [2, 3]}], names=[name], data=DataChoice("csv", options))
    config = OmegaConf.create(yaml.safe_load(text))
    assert OmegaConf.to_container(config.target, resolve=True) == [name, {name: [2, 3]}]
    assert OmegaConf.to_container(config.data, resolve=True) == options
    place = config.hydra.sweep.dir
    assert place.startswith("runs/suggested_")
    assert place.count("/") == 1
    assert len(place) < 110
