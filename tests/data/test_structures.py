"""Choosing what to segment: by name, by label value, and what is refused."""

import pytest

from segfocal.data.structures import choose_structures
from segfocal.errors import UserError
from segfocal.structure import Structure

NAMES = {"spleen": 1, "kidney_right": 2, "kidney_left": 3, "liver": 5, "lesion": 300}

LIVER, SPLEEN = Structure(name="liver", value=5), Structure(name="spleen", value=1)


@pytest.mark.parametrize("target", ["liver", 5, "5", ["liver"], [5], ("5",)])
def test_one_structure_by_name_or_value(target):
    assert choose_structures(target, NAMES) == (LIVER,)


def test_several_structures_keep_their_order():
    assert choose_structures(["liver", 1], NAMES) == (LIVER, SPLEEN)
    assert choose_structures(["spleen", "liver"], NAMES) == (SPLEEN, LIVER)


def test_a_list_from_a_config_is_a_list():
    from omegaconf import OmegaConf

    assert choose_structures(OmegaConf.create(["liver", 1]), NAMES) == (LIVER, SPLEEN)


def test_a_value_without_a_name_gets_one():
    assert choose_structures(7, NAMES) == (Structure(name="label_7", value=7),)
    assert choose_structures("7", {}) == (Structure(name="label_7", value=7),)


def test_a_name_of_digits_is_a_name_before_it_is_a_value():
    assert choose_structures("5", {"5": 8}) == (Structure(name="5", value=8),)


def test_a_misspelt_name_is_told_with_those_near_it():
    with pytest.raises(UserError, match="expected one of kidney_right, kidney_left; found target=Kidneys"):
        choose_structures("Kidneys", NAMES)


def test_an_unknown_name_is_told_with_what_there_is():
    with pytest.raises(UserError, match="expected one of spleen, kidney_right, kidney_left, liver, lesion; found"):
        choose_structures("heart", NAMES)
    with pytest.raises(UserError, match="expected a label value such as 1; found target=heart"):
        choose_structures("heart", {})


@pytest.mark.parametrize("target", [0, "0", -1, "-1", "1.5", "²", ""])
def test_what_is_no_label_value_is_refused(target):
    with pytest.raises(UserError, match="found target="):
        choose_structures(target, NAMES)


def test_the_background_is_refused_by_name_too():
    with pytest.raises(UserError, match="found target=background"):
        choose_structures("background", {"background": 0, "liver": 1})


@pytest.mark.parametrize("target", [["liver", "liver"], ["liver", 5], [5, "5"]])
def test_a_structure_named_twice_is_refused(target):
    with pytest.raises(UserError, match="expected one or more different structures"):
        choose_structures(target, NAMES)


def test_no_structure_is_refused():
    with pytest.raises(UserError, match="expected one or more different structures"):
        choose_structures([], NAMES)
