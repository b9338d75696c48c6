"""The requests of a page that only looks: the same addresses as of sessions, of which none changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from numpy.typing import NDArray
from starlette.responses import FileResponse, Response

import segfocal
from segfocal.grid import Volume
from segfocal.serve.address import Address
from segfocal.serve.application import application
from segfocal.serve.disagreement import slices_unlike
from segfocal.serve.files_sent import labels_sent, nifti_of
from segfocal.serve.page_files import page_routes, presets_told, structures_told
from segfocal.serve.progress import Progress
from segfocal.serve.refusal import Refused
from segfocal.serve.requests import OpenForm, read_form
from segfocal.serve.view.viewed_cases import OpenedCase, ViewedCase, ViewedCases
from segfocal.serve.worker import Worker
from segfocal.structure import Structure

API = 1
_AT = "/api/sessions/{case}"


@dataclass(frozen=True, kw_only=True)
class Viewing:
    """All that answers requests.

    Args:
        cases: to look at.
        title: what they are of, for people.
        made: a folder for scans of other formats, as they are sent.
        worker: the threads that read.
    """

    cases: ViewedCases
    title: str
    made: Path
    worker: Worker

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Those of all cases, by their numbers on the page."""
        return tuple(Structure(name=name, value=n) for n, name in enumerate(self.cases.structures, start=1))


def build_view(viewing: Viewing, address: Address, *, key: str) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            viewing.worker.stop()

    return application([page_routes(viewing.worker), _routes(viewing)], address, key=key, living=living)


def _routes(viewing: Viewing) -> APIRouter:
    asked = ViewRequests(viewing)
    routes = APIRouter()
    looks: dict[str, Callable[..., Any]] = {
        "/api/about": asked.about,
        "/api/scans": asked.scans,
        _AT: asked.described,
        f"{_AT}/image.nii.gz": asked.image,
        f"{_AT}/image.nii": asked.image,
        f"{_AT}/mask.bin": asked.prediction,
        f"{_AT}/reference.bin": asked.reference,
        f"{_AT}/prompts": asked.prompts,
        f"{_AT}/disagreement": asked.disagreement,
        f"{_AT}/progress": asked.progress,
    }
    for path, answer in looks.items():
        routes.add_api_route(path, answer, methods=["GET"])
    routes.add_api_route("/api/sessions", asked.opened, methods=["POST"])
    return routes


class ViewRequests:
    """Answers the requests; files are read in threads.

    Args:
        viewing: what is looked at.
    """

    def __init__(self, viewing: Viewing) -> None:
        self.viewing, self.cases, self.worker = viewing, viewing.cases, viewing.worker
        self._lock = Lock()

    async def about(self) -> dict[str, Any]:
        """Say what the page shows."""
        return {
            "segfocal": segfocal.__version__,
            "api": API,
            "viewing": True,
            "bundle": self.viewing.title,
            "structures": structures_told(self.viewing.structures),
            "prompts": dict.fromkeys(("point", "box", "scribble", "lasso"), False),
            "without_prompt": False,
            "channels": 1,
            "limits": {"places_of_a_prompt": {}},
            "presets": presets_told(),
            "folder": True,
        }

    async def scans(self) -> dict[str, Any]:
        """List the cases, the worst first."""
        return {"scans": [_row(each) for each in self.cases.all()]}

    async def opened(self, request: Request) -> dict[str, Any]:
        """Open a case."""
        return await self.described((await read_form(request, OpenForm)).scan)

    async def described(self, case: str) -> dict[str, Any]:
        """Say where the voxels of a case lie."""
        return _described(self.cases.find(case), await self._found(case))

    async def image(self, case: str) -> Response:
        """Send the scan, or where nobody knows it nothing but black."""
        found = await self._found(case)
        path = await self.worker.read(lambda: self._image(case, found))
        return FileResponse(path, media_type="application/octet-stream")

    async def prediction(self, case: str) -> Response:
        """Send the mask that was judged."""
        found = await self._found(case)
        return await self.worker.read(lambda: _sent(found.prediction))

    async def reference(self, case: str) -> Response:
        """Send the mask it was judged by."""
        found = await self._found(case)
        return await self.worker.read(lambda: _sent(found.reference))

    async def prompts(self, case: str) -> dict[str, Any]:
        """Return what was drawn: nothing."""
        self.cases.find(case)
        return {"prompts": []}

    async def disagreement(self, case: str, structure: str | None = None) -> dict[str, Any]:
        """List the slices on which the masks differ in a structure, the worst first."""
        found, names = await self._found(case), list(self.cases.structures)
        if structure is not None and structure not in names:
            raise Refused(422, expected=f"structure {' or '.join(names)}", found=repr(structure)[:60], do="name one")
        number = None if structure is None else names.index(structure) + 1

        def slices() -> list[dict[str, Any]]:
            mask, wanted = (
                part > 0 if number is None else part == number for part in (found.prediction, found.reference)
            )
            return slices_unlike(mask, wanted, axis=found.slice_axis, grid=found.grid)

        return {"slices": await self.worker.read(slices)}

    async def progress(self, case: str) -> dict[str, Any]:
        """Say that nothing is being done."""
        self.cases.find(case)
        return Progress().told()

    async def _found(self, case: str) -> OpenedCase:
        return await self.worker.read(lambda: self.cases.open(case))

    def _image(self, case: str, found: OpenedCase) -> Path:
        made = self.viewing.made / f"{case}.nii.gz"
        with self._lock:
            black = Volume(array=np.zeros(found.grid.shape, np.uint8, order="F"), grid=found.grid)
            return nifti_of(black if found.image is None else found.image, made)


def _sent(labels: NDArray[np.uint8]) -> Response:
    return labels_sent(labels, ((0, 0, 0), labels.shape), revision=1)


def _row(viewed: ViewedCase) -> dict[str, Any]:
    case = viewed.case
    return {
        "id": viewed.id,
        "name": viewed.name,
        "status": "viewed" if not case.failure else "failed",
        "session": None,
        "labelled": True,
        "mean_dice": case.mean_dice,
        "dice": dict(case.dice),
        "failure": case.failure,
        "predicted": case.files.prediction is not None,
    }


def _described(viewed: ViewedCase, found: OpenedCase) -> dict[str, Any]:
    ending = ".nii" if found.image is not None and found.image.name.lower().endswith(".nii") else ".nii.gz"
    return {
        "session": viewed.id,
        "scan": viewed.id,
        "name": viewed.name,
        "shape": list(found.grid.shape),
        "affine": found.grid.affine.tolist(),
        "spacing_mm": list(found.grid.spacing_mm),
        "image": f"/api/sessions/{viewed.id}/image{ending}",
        "has_image": found.image is not None,
        "slice_axis": found.slice_axis,
        "revision": 1,
        "prompts": 0,
        "edited": False,
        "can_undo": False,
        "can_redo": False,
        "reach_mm": 0.0,
        "pending": False,
        "saved_revision": 0,
        "labelled": True,
        "ready": True,
    }
