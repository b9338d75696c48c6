"""The page as files, and what every server tells it: colours of structures, names of windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from segfocal.serve.refusal import Refused
from segfocal.serve.worker import Worker
from segfocal.structure import Structure

_PAGE = Path(__file__).parent / "page"
_KINDS_OF_FILE = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#008080")
_PRESETS = (
    ("soft tissue", -160.0, 240.0),
    ("lung", -1350.0, 150.0),
    ("bone", -450.0, 1050.0),
    ("brain", 0.0, 80.0),
    ("liver", -45.0, 105.0),
    ("vessels", -100.0, 500.0),
)


def page_routes(worker: Worker) -> APIRouter:
    """Return the routes of the page and its parts, and the one that says that the server lives."""
    router = APIRouter()

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/")
    async def page() -> Response:
        return await worker.read(lambda: _page_file("index.html"))

    @router.get("/page/{path:path}")
    async def part_of_page(path: str) -> Response:
        return await worker.read(lambda: _page_file(path))

    return router


def presets_told() -> list[dict[str, Any]]:
    """Return the windows of a CT."""
    return [{"name": name, "low": low, "high": high} for name, low, high in _PRESETS]


def structures_told(structures: Sequence[Structure]) -> list[dict[str, Any]]:
    """Return structures with a colour each."""
    return [
        {
            "name": one.name,
            "value": one.value,
            "colour": _COLOURS[number % len(_COLOURS)],
            "overlaps": one.overlaps,
        }
        for number, one in enumerate(structures)
    ]


def _page_file(path: str) -> Response:
    """Return a file of the page; Refused for what is none, wherever the path leads."""
    place = PurePosixPath(path)
    kind = _KINDS_OF_FILE.get(place.suffix.lower())
    plain = kind is not None and not place.is_absolute() and "\\" not in path and "\0" not in path
    if not plain or any(part.startswith(".") for part in place.parts) or not (_PAGE / place).is_file():
        raise Refused(404, expected="a file of the page", found=repr(path)[:80], do="open /")
    return FileResponse(_PAGE / place, media_type=kind, headers={"Cache-Control": "no-cache"})
