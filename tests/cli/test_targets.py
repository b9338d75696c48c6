"""One list of what a config may have built, held against the whole tree before anything is made of it."""

import copy

import pytest

from segfocal.augment import Augment
from segfocal.cli.targets import build, check_tree
from segfocal.errors import UserError
from segfocal.losses import DiceLoss, WeightedSum

TREE = {
    "augment": {"_target_": "segfocal.augment.Augment", "rotate": 0.1, "probability": {"rotate": 0.5}},
    "task": {"_target_": "segfocal.tasks.Promptable", "first": {"_target_": "segfocal.tasks.FirstPrompt"}},
    "loss": {
        "_target_": "segfocal.losses.WeightedSum",
        "terms": {"dice": {"_target_": "segfocal.losses.DiceLoss", "batch": "no"}},
        "weights": {"dice": 1.0},
    },
    "intensity": {
        "_target_": "segfocal.intensity.PerChannel",
        "each": [{"_target_": "segfocal.intensity.Percentiles"}],
    },
    "train": {"lr_scales": {"a": 1.0}},
    "list": [[{"x": 1}], 2],
}
MARKER = """
from pathlib import Path


def touch(*arguments, **options):
    (Path(__file__).parent / "ran").touch()


class Touch:
    def __init__(self, *arguments, **options):
        touch()
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A module that Python can import and that is not the user's own; it leaves a mark when it is called."""
    (tmp_path / "foreign_marker.py").write_text(MARKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def places(tree, where=()):
    """Return where in a tree something can be added."""
    found = [where] if isinstance(tree, dict | list) else []
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found += places(part, (*where, key))
    return found


def with_part(where, part):
    tree = copy.deepcopy(TREE)
    node = tree
    for key in where:
        node = node[key]
    if isinstance(node, list):
        node.append(part)
    else:
        node["added"] = part
    return tree


@pytest.mark.parametrize("where", places(TREE), ids=lambda where: ".".join(map(str, where)) or "root")
@pytest.mark.parametrize(
    "part",
    [
        {"_target_": "foreign_marker.touch"},
        {"_target_": "foreign_marker.Touch", "_partial_": True},
        {"_target_": "foreign_marker.touch", "_args_": [1], "_recursive_": False},
        {"_convert_": "all", "_target_": "foreign_marker.touch"},
        {"_target_": "segfocal.losses.DiceLoss", "_args_": [{"_target_": "foreign_marker.touch"}]},
        {"_target_": "os.mkdir", "path": "made"},
        {"_target_": ["os.mkdir"]},
        {"_target_": "segfocal.files.write_text", "path": "made", "text": ""},
        {"_target_": "segfocal.augment.augment.torch.hub.load"},
        {"_target_": "monai.transforms.SaveImaged", "keys": "image"},
        {"_target_": "monai.transforms.utils.np.save"},
        {"_target_": ""},
        {"_target_": None},
        {"_target_": "."},
    ],
    ids=lambda part: str(part)[:60],
)
def test_a_target_that_is_not_listed_is_refused_everywhere_and_never_runs(where, part, foreign):
    with pytest.raises(UserError, match="_target_ to name a loss"):
        check_tree(with_part(where, part))
    with pytest.raises((UserError, TypeError, ValueError)):
        build(with_part(where, part)["list" if where[:1] == ("list",) else where[0]] if where else part)
    assert not (foreign / "ran").exists()


def test_a_module_that_pythonpath_finds_is_the_users_own(foreign, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(foreign))
    part = {"_target_": "foreign_marker.touch", "_partial_": True}
    assert check_tree(part) == []
    build(part)()
    assert (foreign / "ran").exists()


def test_a_module_of_imports_is_the_users_own(foreign):
    assert check_tree({"_target_": "foreign_marker.Touch"}, imports=("foreign_marker",)) == []


@pytest.mark.parametrize(
    "target", ["foreign_marker.Path", "foreign_marker.Path.touch", "foreign_marker.absent", "os.mkdir"]
)
def test_what_a_module_of_the_users_only_imports_is_not_its_own(target, foreign, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(foreign))
    with pytest.raises(UserError, match="_target_ to name"):
        check_tree({"_target_": target}, imports=("os",))


def test_values_spelt_otherwise_are_named_with_their_place():
    assert check_tree(TREE) == [(("loss", "terms", "dice", "batch"), False)]


def test_parts_are_built_before_the_whole_and_stay_plain():
    loss = build({**TREE["loss"], "terms": {"dice": {"_target_": "segfocal.losses.DiceLoss", "batch": True}}})
    assert isinstance(loss, WeightedSum)
    assert isinstance(loss.terms["dice"], DiceLoss)
    augment = build({"_target_": "segfocal.augment.Augment", "flip": ["w"]})
    assert augment == Augment(flip=["w"])


def test_a_transform_of_monai_is_built_with_its_parts():
    pytest.importorskip("monai")
    parts = [{"_target_": "monai.transforms.RandGaussianNoised", "keys": ["image"], "prob": 1.0}]
    made = build({"_target_": "monai.transforms.Compose", "transforms": parts})
    assert [type(one).__name__ for one in made.transforms] == ["RandGaussianNoised"]
