"""A schema takes strict types alone and says in one line what is wrong and where."""

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from segfocal.errors import UserError
from segfocal.foreign.schema import Schema, checked, place_of


class Part(Schema):
    name: str
    value: Annotated[int, Field(ge=1, le=255)] = 1


class Whole(Schema):
    parts: Annotated[list[Part], Field(max_length=3)]
    scale: float = 1.0
    on: bool = False


def message(value):
    with pytest.raises(UserError) as told:
        checked(value, Whole, where="x.json")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_is_right_is_returned_and_unknown_keys_are_passed_over():
    whole = checked({"parts": [{"name": "a", "more": 0}], "scale": 2}, Whole, where="")
    assert (whole.parts[0].name, whole.parts[0].value, whole.scale) == ("a", 1, 2.0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "expected $.parts, which is needed; found nothing in x.json"),
        ({"parts": [{"name": 1}]}, "expected $.parts[0].name to be a valid string; found 1 in x.json"),
        ({"parts": [{"name": "a", "value": "1"}]}, "$.parts[0].value to be a valid integer; found '1'"),
        ({"parts": [{"name": "a", "value": True}]}, "$.parts[0].value to be a valid integer; found True"),
        ({"parts": [{"name": "a", "value": 300}]}, "$.parts[0].value to be less than or equal to 255; found 300"),
        ({"parts": [], "scale": float("nan")}, "$.scale to be a finite number; found nan"),
        ({"parts": [], "on": "no"}, "$.on to be true or false; found 'no'"),
        ({"parts": {}}, "$.parts to be a valid list; found {}"),
        ([], "$ to be a valid mapping"),
        (None, "$ to be a valid mapping"),
    ],
)
def test_the_first_thing_wrong_is_named_with_its_place(value, told):
    assert told in message(value)


def test_an_adapter_is_a_form_too():
    assert checked([1, 2], TypeAdapter(list[int]), where="") == [1, 2]


def test_a_place_is_a_path_into_the_json():
    assert place_of(("a", 3, "b c", "\n")) == "$.a[3]['b c']['\\n']"
