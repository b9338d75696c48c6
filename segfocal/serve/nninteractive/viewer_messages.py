"""What the calls of a viewer hold: JSON as body, or as header beside an array, one form each.

Source: the package nninteractive-client 2.5 and 2.6, which is the protocol's only description.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field
from starlette.requests import ClientDisconnect, Request

from segfocal.errors import UserError
from segfocal.foreign import door
from segfocal.foreign.schema import Schema, checked
from segfocal.serve.refusal import Refused

META, LEASE = "X-Meta", "X-Lease-Token"  # headers: JSON beside an array, the token of the lease
LARGEST_FORM = 1 << 20  # bytes of JSON
_LIMITS = door.Limits(mebibytes=1, depth=8)

Place = Annotated[list[float], Field(min_length=3, max_length=3)]
Span = Annotated[list[float], Field(min_length=2, max_length=2)]
Spans = Annotated[list[Span], Field(min_length=3, max_length=3)]
Side = Annotated[int, Field(ge=1, lt=1 << 31)]
Millimetres = Annotated[float, Field(ge=1e-4, le=1e4)]
Row = Annotated[list[float], Field(min_length=4, max_length=4)]


def _first_of_one(value: Any) -> Any:
    """Return the list in a list of one: some callers send a point as [1,3]."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class ImageProperties(Schema):
    """What is said of an image. Viewers send a spacing; the rest is for scripts that know more.

    Args:
        spacing: mm along the image's three axes; 1 where it is left out.
        orientation: three letters, where these axes point to in the body, as "SPL".
        affine: from the image's voxel indices to world mm (RAS+); then spacing and orientation are not asked for.
        structure: which of the bundle's structures is drawn; the first one where it is left out.
    """

    spacing: Annotated[list[Millimetres], Field(min_length=3, max_length=3)] | None = None
    orientation: str | None = None
    affine: Annotated[list[Row], Field(min_length=4, max_length=4)] | None = None
    structure: str | None = None


class ImageForm(Schema):
    """Beside an image."""

    image_properties: ImageProperties = Field(default_factory=ImageProperties)


class TargetForm(Schema):
    """The array that a viewer keeps its mask in."""

    shape: Annotated[list[Side], Field(min_length=3, max_length=3)]
    dtype: str


class ZoomForm(Schema):
    """Whether answers are carried to the slices beside them."""

    do_autozoom: bool


class PredictForm(Schema):
    """A call to answer what waits."""

    force_full_refine: bool = False


class _Prompt(Schema):
    """Any prompt: whether it marks the structure, and whether it is answered at once."""

    include_interaction: bool
    run_prediction: bool = True
    override_capability_checks: bool = False


class PointForm(_Prompt):
    """A click at a voxel."""

    coordinates: Annotated[Place, BeforeValidator(_first_of_one)]


class BoxForm(_Prompt):
    """A box: of each axis the first voxel and one past the last."""

    bbox_coords: Spans


class MarkedForm(_Prompt):
    """Beside the voxels of a scribble or lasso: where in the image they lie, None for all of it."""

    interaction_bbox: Spans | None = None


class InitialForm(Schema):
    """Beside a mask to begin with."""

    run_prediction: bool = False
    override_capability_checks: bool = False


AnyForm = TypeVar("AnyForm", bound=Schema)


async def read_body(request: Request, most: int) -> bytearray:
    """Return the body of a request; Refused where it is larger than `most` bytes, or cut short."""
    too_large = Refused(
        413, expected=f"a body of at most {most:,} bytes", found="a larger one", do="send a smaller array"
    )
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > most:
        raise too_large
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise too_large
    except ClientDisconnect as error:
        raise Refused(400, expected="a whole body", found="one that was cut short", do="send it again") from error
    return body


async def read_form(request: Request, form: type[AnyForm]) -> AnyForm:
    """Return the body of a request as a form; an empty one is {}. Refused as `parse_form` and `read_body`."""
    return parse_form(await read_body(request, LARGEST_FORM), form, where="the request's body")


def read_meta(request: Request, form: type[AnyForm]) -> AnyForm:
    """Return the header that goes with an array as a form; Refused as `parse_form`."""
    return parse_form(request.headers.get(META, "").encode("latin-1"), form, where=f"the header {META}")


def parse_form(data: bytes | bytearray, form: type[AnyForm], *, where: str) -> AnyForm:
    """Return JSON as a form.

    Args:
        data: the JSON; nothing is {}.
        form: which.
        where: it came, for messages.

    Raises:
        Refused: no JSON or numbers that are not finite (400), another form (422).
    """
    try:
        value = door.parse_json(data.decode() if data.strip() else "{}", where=where, limits=_LIMITS)
    except UnicodeDecodeError as error:
        raise Refused(400, expected="JSON in UTF-8", found="other bytes", do="mend the request", where=where) from error
    except UserError as error:
        raise _refused(400, error, where) from error
    try:
        return checked(value, form, where=where, do="mend the request")
    except UserError as error:
        raise _refused(422, error, where) from error


def _refused(status: int, error: UserError, where: str) -> Refused:
    return Refused(status, expected=error.expected, found=error.found, where=where, do="mend the request")
