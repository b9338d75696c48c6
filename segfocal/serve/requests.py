"""What requests hold: bodies of JSON within limits, one form each."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field
from starlette.requests import ClientDisconnect, Request

from segfocal.errors import UserError
from segfocal.foreign import door
from segfocal.foreign.schema import Schema, checked
from segfocal.serve.history import Place, Plane
from segfocal.serve.refusal import Refused

LARGEST = 1 << 20  # bytes of a body
_LIMITS = door.Limits(mebibytes=1, depth=8)
_WHERE = "the request"


class RequestForm(Schema):
    """Base of all: the revision that the client knows, where it wants to be told of a change by another one."""

    model_config = ConfigDict(extra="forbid")

    revision: int | None = None


class Nothing(RequestForm):
    """A request that says no more than its address."""


class OpenForm(RequestForm):
    """Which scan to open."""

    scan: str


class PromptForm(RequestForm):
    """What was drawn.

    Args:
        structure: its name; None where the model has one.
        kind: point, box, scribble or lasso.
        positive: whether it is inside.
        world_mm: its places.
        plane: on which it was drawn.
    """

    structure: str | None = None
    kind: str
    positive: bool = True
    world_mm: Annotated[list[Place], Field(max_length=10_000)]
    plane: Plane | None = None


class AbsentForm(RequestForm):
    """A place on the slice on which there is nothing of a structure."""

    structure: str | None = None
    world_mm: Annotated[list[Place], Field(min_length=1, max_length=1)]


class StrokeForm(RequestForm):
    """A stroke of the brush.

    Args:
        structure: its name; None where the model has one, or where all are erased.
        erase: whether it takes away.
        world_mm: its places.
        radius_mm: of the brush.
        plane: on which it was drawn.
    """

    structure: str | None = None
    erase: bool = False
    world_mm: Annotated[list[Place], Field(max_length=10_000)]
    radius_mm: float
    plane: Plane | None = None


class ResetForm(RequestForm):
    """What is taken away: the prompts of a structure, or all."""

    structure: str | None = None


class CarryForm(RequestForm):
    """How far answers are propagated; null: to the end."""

    reach_mm: float | None = None


AnyForm = TypeVar("AnyForm", bound=RequestForm)


async def read_form(request: Request, form: type[AnyForm]) -> AnyForm:
    """Return the body of a request; an empty one is {}.

    Raises:
        Refused: too large, no JSON, another form, numbers that are not finite.
    """
    data = b""
    try:
        async for part in request.stream():
            data += part
            if len(data) > LARGEST:
                raise Refused(
                    413, expected=f"a body of at most {LARGEST >> 20} MiB", found="a larger one", do="send less at once"
                )
    except ClientDisconnect as error:
        raise Refused(400, expected="a whole body", found="one that was cut short", do="send it again") from error
    try:
        value = door.parse_json(data.decode() if data.strip() else "{}", where=_WHERE, limits=_LIMITS)
    except UnicodeDecodeError as error:
        raise Refused(400, expected="JSON in UTF-8", found="other bytes", do="mend the request") from error
    except UserError as error:
        raise _bad(400, error) from error
    try:
        return checked(value, form, where=_WHERE, do="mend the request")
    except UserError as error:
        raise _bad(422, error) from error


def _bad(status: int, error: UserError) -> Refused:
    return Refused(status, expected=error.expected, found=error.found, where=_WHERE, do="mend the request")
