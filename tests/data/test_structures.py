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


# Unions and structures that overlap


def structure(name, value, **more):
    return Structure(name=name, value=value, **more)


@pytest.mark.parametrize("parts", [[2, 3], ["kidney_right", "kidney_left"], ["2", "kidney_left"]])
def test_a_union_gets_a_name_and_a_value_of_its_own(parts):
    assert choose_structures({"kidneys": parts}, NAMES) == (structure("kidneys", 1, of=(2, 3)),)


def test_with_a_union_all_targets_are_numbered():
    expected = (structure("liver", 1, of=(5,)), structure("kidneys", 2, of=(2, 3)))
    assert choose_structures(["liver", {"kidneys": [2, 3]}], NAMES) == expected
    assert choose_structures({"liver": 5, "kidneys": [2, 3]}, NAMES) == expected


def test_unions_that_share_a_label_value_overlap():
    chosen = choose_structures([{"kidneys": [2, 3]}, "kidney_left", "liver"], NAMES)
    assert chosen == (
        structure("kidneys", 1, of=(2, 3), overlaps=True),
        structure("kidney_left", 2, of=(3,), overlaps=True),
        structure("liver", 4, of=(5,), overlaps=True),
    )
    assert choose_structures(["liver", "spleen"], NAMES, overlap=True)[1] == structure(
        "spleen", 2, of=(1,), overlaps=True
    )
    assert choose_structures("liver", NAMES, overlap=True) == (structure("liver", 5),)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"kidneys": []}, "to make up kidneys"),
        ({"kidneys": [2, "kidney_right"]}, "to make up kidneys"),
        ({"kidneys": ["heart"]}, "found target=heart"),
        ([{"a": [2, 3]}, {"b": [3, 2]}], "one or more different structures"),
        ([{"liver": [2, 3]}, "liver"], "found liver twice"),
        (list(range(1, 17)), "at most 15 structures that may overlap; found 16"),
    ],
)
def test_a_union_that_means_nothing_is_told(target, told):
    with pytest.raises(UserError, match=told):
        choose_structures(target, NAMES, overlap=True)


def test_many_near_names_do_not_make_a_long_line():
    names = {f"vertebrae_{number}": number for number in range(1, 100)}
    with pytest.raises(UserError, match=r"vertebrae_12 and 87 more; found target=vertebra\.") as error:
        choose_structures("vertebra", names)
    assert len(str(error.value)) < 300


def test_a_misspelt_name_with_one_near_it_is_asked_about():
    with pytest.raises(UserError, match=r"found target=livr\. Did you mean liver\?"):
        choose_structures("livr", {"spleen": 1, "liver": 2, "aorta": 3})
