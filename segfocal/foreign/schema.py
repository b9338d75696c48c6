"""What a format of others holds: one pydantic model each, strict, and every failure one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from segfocal.errors import UserError
from segfocal.foreign.door import shown


class Schema(BaseModel):
    """Base of the formats: text is no number, true is no 1, NaN is no number; other keys are passed over."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


Form = TypeVar("Form")


def checked(value: Any, form: type[Form] | TypeAdapter[Form], *, where: str | Path, do: str = "mend the file") -> Form:
    """Return a value in the form of a schema.

    Args:
        value: what a file holds.
        form: a Schema, or an adapter of a list or mapping of them.
        where: the file, for the message.
        do: how to mend it.

    Raises:
        UserError: what the first thing wrong should be, what it is, and where.
    """
    adapter: TypeAdapter[Form] = form if isinstance(form, TypeAdapter) else TypeAdapter(form)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(expected=_expected(first), found=_found(first), where=where, do=do) from error


def place_of(location: tuple[int | str, ...]) -> str:
    """Return a place within JSON as a path: $.prompts[3].lower."""
    names = [
        f"[{part}]" if isinstance(part, int) else f".{part}" if part.isidentifier() else f"[{part!r}]"
        for part in location
    ]
    return "$" + "".join(names)


def _expected(error: ErrorDetails) -> str:
    place = place_of(error["loc"])
    if error["type"] == "missing":
        return f"{place}, which is needed"
    words = error["msg"].removeprefix("Value error, ").replace("Input should be ", "").replace("dictionary", "mapping")
    words = {"a valid boolean": "true or false", "True": "true"}.get(words, words)
    return f"{place} to be {words[:1].lower()}{words[1:]}"


def _found(error: ErrorDetails) -> str:
    return "nothing" if error["type"] == "missing" else shown(error["input"])
