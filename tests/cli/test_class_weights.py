"""Class weights by name become the list that a loss takes, in the order of its classes."""

import pytest

from segfocal.cli.class_weights import with_listed_weights
from segfocal.cli.targets import build, check_tree
from segfocal.structure import Structure

LIVER, SPLEEN = Structure(name="liver", value=1), Structure(name="spleen", value=2)


def loss_of(target, **options):
    terms = {"one": {"_target_": f"segfocal.losses.{target}", **options}}
    return {"_target_": "segfocal.losses.WeightedSum", "terms": terms, "weights": {"one": 1.0}}


def listed(loss, *structures):
    assert check_tree(loss) == []
    return with_listed_weights(loss, structures)["terms"]["one"]


@pytest.mark.parametrize(
    "weights", [{0: 1, 1: 50}, {"background": 1, "liver": 50}, {"liver": 50, 0: 1}, {"1": 50, "0": 1}]
)
def test_weights_by_class_are_those_of_the_list(weights):
    found = listed(loss_of("SoftmaxFocalLoss", alpha=weights), LIVER)["alpha"]
    assert found == [1, 50]
    term = build(loss_of("SoftmaxFocalLoss", alpha=found)).terms["one"]
    assert term.alpha.tolist() == [1.0, 50.0]


def test_weights_of_cross_entropy_come_in_the_order_of_the_structures():
    weights = {"spleen": 3.0, "background": 0.5, "liver": 2.0}
    found = listed(loss_of("SoftmaxCrossEntropyLoss", weight=weights), LIVER, SPLEEN)
    assert found["weight"] == [0.5, 2.0, 3.0]


def test_alpha_of_masks_has_no_background():
    found = listed(loss_of("FocalLoss", alpha={"spleen": 0.75, "liver": 0.25}), LIVER, SPLEEN)
    assert found["alpha"] == [0.25, 0.75]


def test_a_schedule_stays_a_schedule():
    schedule = {"linear": {0: 0.25, 1: 0.75}}
    assert listed(loss_of("FocalLoss", alpha=schedule), LIVER)["alpha"] == schedule


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"background": 1}, "each of background, liver one weight"),
        ({0: 1, 1: 5, 2: 7}, "alpha of background, liver; got 2"),
        ({"Liver": 1, 0: 1}, "alpha of background, liver; got Liver"),
        ({"liver": 1, 1: 1}, "each of background, liver one weight"),
    ],
)
def test_a_class_that_is_not_there_or_has_no_weight_is_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        listed(loss_of("SoftmaxFocalLoss", alpha=weights), LIVER)


def test_a_structure_whose_name_is_the_number_of_another_is_refused():
    one, two = Structure(name="2", value=2), Structure(name="1", value=1)
    with pytest.raises(ValueError, match="which is 2 of them"):
        listed(loss_of("SoftmaxFocalLoss", alpha={0: 1, 1: 2, 2: 3}), one, two)


def test_other_options_take_no_mapping():
    with pytest.raises(ValueError, match=r"expected loss.smooth to be a number; got \{"):
        check_tree({"loss": {"_target_": "segfocal.losses.DiceLoss", "smooth": {"liver": 1}}})
    with pytest.raises(ValueError, match=r"expected loss\.alpha to be"):
        check_tree({"loss": {"_target_": "segfocal.losses.SoftmaxFocalLoss", "alpha": {"liver": "much"}}})
