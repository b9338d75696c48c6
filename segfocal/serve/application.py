"""What every server is made of: routes, one line for every error, and the door that lets requests in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from segfocal.errors import UserError
from segfocal.serve.access import Access, told
from segfocal.serve.address import Address
from segfocal.serve.refusal import Refused, refused
from segfocal.serve.worker import tell


def application(routers: Iterable[APIRouter], address: Address, *, key: str, living: Any) -> FastAPI:
    """Return an application of some routes.

    Args:
        routers: the routes.
        address: where it listens.
        key: that requests must show.
        living: what goes on while it lives: a function of the application that returns a context.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=living)
    for router in routers:
        app.include_router(router)
    for kind in (UserError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _failed)
    app.add_middleware(Access, key=key, local=address.is_local, cookie=f"segfocal_{address.port}")
    return app


async def _failed(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        words = {404: "an address of this server", 405: "another method for this address"}
        expected = words.get(error.status_code, "another request")
        return told(Refused(error.status_code, expected=expected, found="none like it", do="see docs/serve.md"))
    if isinstance(error, RequestValidationError):
        return told(Refused(422, expected="another request", found="values that do not fit", do="see docs/serve.md"))
    tell(error)
    return told(refused(error))
