"""Values of options against the annotations of the constructors that take them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest

from segfocal.losses import DiceLoss
from segfocal.losses.class_weights import ClassWeights
from segfocal.option_kinds import converted, in_words, kinds_of


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [("no", False), ("No", False), ("off", False), ("false", False), ("yes", True), ("on", True), ("TRUE", True)],
)
def test_a_switch_may_be_spelt_as_in_yaml_1_1(spelt, meant):
    assert converted(spelt, bool, "batch") is meant


def test_a_switch_that_may_be_auto_keeps_its_word():
    assert converted("auto", Literal["auto"] | bool, "compile") == "auto"
    assert converted("off", Literal["auto"] | bool, "compile") is False


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("maybe", bool, "true or false"),
        (1, bool, "true or false"),
        (True, int, "a whole number"),
        (1.5, int, "a whole number"),
        ("3", int, "a whole number"),
        ("1e-3", float, "a number"),
        (True, float, "a number"),
        (float("nan"), float, "a number"),
        (float("inf"), float, "a number"),
        (3, str, "text"),
        (None, str, "text"),
        ("abc", Sequence[float], "[a number, …]"),
        ({0: 1}, Sequence[float], "[a number, …]"),
        ([1, True], Sequence[float], "[a number, …]"),
        ("sum", Literal["mean", "none"], "mean or none"),
        ([1], Mapping[str, float] | None, "{name: a number, …} or null"),
        ("x", Annotated[int, "a size"], "a size"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(value, kind, words):
    with pytest.raises(ValueError, match=r"^expected loss\.x to be ") as refused:
        converted(value, kind, "loss.x")
    assert str(refused.value) == f"expected loss.x to be {words}; got {value!r}"


def test_a_message_shows_the_beginning_of_a_long_value_on_one_line():
    with pytest.raises(ValueError, match=r"loss\.x") as refused:
        converted({"a\nb": "c" * 5000}, float, "loss.x")
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)


def test_whole_numbers_and_lists_of_them_are_numbers():
    assert converted(2, float, "gamma") == 2.0
    assert converted([1, 50], ClassWeights, "alpha") == [1.0, 50.0]
    assert converted({"linear": {0: 1, 0.5: 2}}, float | Mapping[str, object], "gamma") == {"linear": {0: 1, 0.5: 2}}


def test_one_number_or_word_is_a_list_of_it():
    assert converted(3, Sequence[int], "clicks") == [3]
    assert converted("image_encoder.*", Sequence[str], "freeze") == ["image_encoder.*"]


def test_the_kinds_of_a_constructor_are_its_annotations():
    kinds = kinds_of(DiceLoss)
    assert kinds["batch"] is bool
    assert in_words(kinds["link"]) == "sigmoid or softmax"
