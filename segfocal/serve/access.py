"""Who may ask: the key, the host a browser believes to talk to, and no page of another site.

The key comes as a header (Authorization: Bearer KEY), or in the cookie that the first request of a browser,
/?token=KEY, is given. With the cookie a request that changes something must also carry a header that pages of other
sites cannot set.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segfocal.serve.refusal import Refused, as_json

WRITING_HEADER = "x-segfocal"
_OPEN = ("/healthz",)
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def told(refusal: Refused) -> JSONResponse:
    """Return a refusal as an answer of HTTP."""
    headers = {} if refusal.retry_seconds is None else {"Retry-After": str(refusal.retry_seconds)}
    headers |= {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return JSONResponse(as_json(refusal), status_code=refusal.status, headers=headers)


class Access:
    """Lets through the requests that may be answered, and says to browsers what pages of this server may do.

    Args:
        app: that answers them.
        key: that they must show.
        local: whether the server is for this machine alone; then it must be called by a name of it.
        cookie: the name of the cookie: those of two ports are not kept apart by browsers.
    """

    def __init__(self, app: ASGIApp, *, key: str, local: bool, cookie: str) -> None:
        self.app, self.key, self.local, self.cookie = app, key, local, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            answer = self._welcomed(scope)
        except Refused as refusal:
            answer = told(refusal)
        await (answer or self.app)(scope, receive, _with_headers(send))

    def _welcomed(self, scope: Scope) -> Response | None:
        """Return None where the request may be answered, or the answer to one that brings the key in its address."""
        headers, path, safe = Headers(scope=scope), scope["path"], scope["method"] in _SAFE
        self._check_site(headers, entering=safe and path == "/")
        if path in _OPEN and safe:
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if path == "/" and safe and "token" in query:
            if not self._is_key(query["token"][0]):
                raise _unknown("another token in the address")
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(self.cookie, self.key, httponly=True, samesite="strict", path="/")
            return answer
        self._check_key(headers, safe=safe)
        return None

    def _check_key(self, headers: Mapping[str, str], *, safe: bool) -> None:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if shown:
            if scheme.lower() != "bearer" or not self._is_key(shown.strip()):
                raise _unknown("another one in the header Authorization")
            return
        try:
            crumb = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            crumb = None
        if crumb is None or not self._is_key(crumb.value):
            raise _unknown("none" if crumb is None else "another one in the cookie")
        if not safe and WRITING_HEADER not in headers:
            raise Refused(
                403,
                expected=f"the header {WRITING_HEADER} with a request that changes something",
                found="none",
                do="use the page of this server, or the header Authorization",
            )

    def _is_key(self, shown: str) -> bool:
        return secrets.compare_digest(shown.encode(), self.key.encode())

    def _check_site(self, headers: Mapping[str, str], *, entering: bool) -> None:
        """Raise Refused for a request of another site's page, or one by a name that is not this machine's."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.local and name.lower() not in _LOCAL:
            raise Refused(
                403, expected="a request to 127.0.0.1 or localhost", found=f"one to {host[:80]}", do="use that address"
            )
        site = headers.get("sec-fetch-site", "none")
        led = entering and headers.get("sec-fetch-mode") == "navigate"
        if (origin is not None and origin not in (f"http://{host}", f"https://{host}")) or (
            site not in ("none", "same-origin") and not led
        ):
            raise Refused(
                403,
                expected="a request of this server's own page",
                found=f"one of {(origin or 'another site')[:80]}",
                do="open the address that the server printed",
            )


def _unknown(found: str) -> Refused:
    return Refused(
        401,
        expected="the token of this server",
        found=found,
        do="open the address that the server printed",
    )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
