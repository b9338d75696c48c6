"""The door: an application of HTTP that shows scans, opens sessions and sends the page. docs/serve.md describes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.requests import ClientDisconnect

import segfocal
from segfocal.files import written_beside
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.prompt_entries import MOST_ENTRIES
from segfocal.serve import drawn, http_sessions, training_folder
from segfocal.serve.application import application
from segfocal.serve.mask import takes_prompts
from segfocal.serve.options import ServeOptions
from segfocal.serve.page_files import page_routes, presets_told, structures_told
from segfocal.serve.refusal import Refused
from segfocal.serve.scans import ScanList, ServedScan
from segfocal.serve.sessions import Sessions
from segfocal.serve.training_process import TrainingProcess
from segfocal.serve.worker import Worker

API = 1
_BETWEEN_LOOKS = 30.0  # seconds, for idle sessions


@dataclass(frozen=True, kw_only=True)
class Serving:
    """All that answers requests.

    Args:
        options: of the server.
        predictor: the model.
        scans: that can be opened.
        sessions: that are open, or lie on disk.
        worker: the threads that work.
        training: on what was corrected.
    """

    options: ServeOptions
    predictor: Predictor
    scans: ScanList
    sessions: Sessions
    worker: Worker
    training: TrainingProcess

    @classmethod
    def of(cls, options: ServeOptions, predictor: Predictor) -> Serving:
        """Put together what a server of these options needs."""
        channels = predictor.bundle.channels
        uploads = options.sessions / "uploads"
        scans = ScanList(options.inputs, uploads=uploads, output=options.output, channels=channels)
        return cls(
            options=options,
            predictor=predictor,
            scans=scans,
            sessions=Sessions(options, predictor, scans),
            worker=Worker(options.limits.waiting),
            training=TrainingProcess(options, predictor.bundle.structures),
        )


def build_app(serving: Serving, *, key: str, more: Sequence[APIRouter] = ()) -> FastAPI:
    """Return the application.

    Args:
        serving: what answers.
        key: that requests must show.
        more: routes of other protocols.
    """

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_close_idle(serving))
        try:
            yield
        finally:
            looking.cancel()
            serving.sessions.stop_work()
            await asyncio.to_thread(serving.training.close)
            await asyncio.to_thread(serving.worker.stop)

    routers = [page_routes(serving.worker), _router(serving), http_sessions.router(serving.sessions, serving.worker)]
    return application([*routers, *more], serving.options, key=key, living=living)


async def _close_idle(serving: Serving) -> None:
    while True:
        await asyncio.sleep(_BETWEEN_LOOKS)
        with suppress(Refused):
            await serving.worker.run(serving.sessions.close_idle)


def _router(serving: Serving) -> APIRouter:
    """Return the routes beside those of sessions."""
    router = APIRouter()

    @router.get("/api/about")
    async def about() -> dict[str, Any]:
        return about_serving(serving)

    @router.get("/api/scans")
    async def scans() -> dict[str, Any]:
        return {"scans": await serving.worker.read(lambda: _listed(serving))}

    @router.get("/api/training")
    async def training() -> dict[str, Any]:
        return await serving.worker.read(serving.training.told)

    @router.post("/api/training", status_code=202)
    async def train() -> dict[str, Any]:
        await serving.worker.read(serving.training.start)
        return await serving.worker.read(serving.training.told)

    @router.delete("/api/training")
    async def stop_training() -> dict[str, Any]:
        await serving.worker.read(serving.training.stop)
        return await serving.worker.read(serving.training.told)

    @router.post("/api/scans", status_code=201)
    async def upload(request: Request, name: str = "") -> dict[str, str]:
        scan = await _received(request, name, serving)
        return {"id": scan.id, "name": scan.name}

    return router


def about_serving(serving: Serving) -> dict[str, Any]:
    """Return what a page must know of a server: the model, what it can do, and the limits."""
    options, bundle, limits = serving.options, serving.predictor.bundle, serving.options.limits
    prompted = takes_prompts(serving.predictor)
    return {
        "segfocal": segfocal.__version__,
        "api": API,
        "bundle": options.bundle.resolve().parent.name + "/" + options.bundle.resolve().name,
        "structures": structures_told(bundle.structures),
        "prompts": {kind: prompted and how for kind, how in drawn.KINDS.items()},
        "without_prompt": not bundle.needs_prompts,
        "channels": bundle.channels,
        "limits": {
            "sessions": limits.sessions,
            "idle_minutes": limits.idle_minutes,
            "upload_mib": limits.upload_mib,
            "prompts": MOST_ENTRIES,
            "places_of_a_prompt": drawn.MOST_PLACES,
        },
        "presets": presets_told(),
        "folder": options.inputs is not None,
        "output": str(options.output),
        "train_command": training_folder.train_command(options.output, bundle.structures, options.train_options),
        "trains": options.train,
    }


def _listed(serving: Serving) -> list[dict[str, Any]]:
    """Return the scans with how far each is: new, begun, or saved."""
    sessions = serving.sessions.all()
    own = {history.scan: (name, history) for name, history in sessions.items()}
    rows = []
    for scan in serving.scans.all():
        name, history = own.get(scan.id, (None, None))
        there = training_folder.places(serving.options.output, scan).mask.exists()
        changed = history is not None and history.saved_revision != history.revision
        status = "begun" if history is not None and history.done and changed else "saved" if there else "new"
        rows.append(
            {"id": scan.id, "name": scan.name, "status": status, "session": name, "labelled": scan.label is not None}
        )
    return rows


async def _received(request: Request, name: str, serving: Serving) -> ServedScan:
    """Write the body of a request to a file of its own, as it comes, and read it as a scan; all that in a thread."""
    most = serving.options.limits.upload_mib << 20
    too_large = Refused(
        413, expected=f"a file of at most {most >> 20} MiB", found="a larger one", do="put it into the folder of scans"
    )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise too_large
    loop, parts = asyncio.get_running_loop(), request.stream()

    def next_part() -> bytes:
        """Wait, in the thread that writes, for the next bytes; b"" at the end."""
        return asyncio.run_coroutine_threadsafe(anext(parts, b""), loop).result()

    def received() -> ServedScan:
        path, size = serving.scans.place_for(name), 0
        try:
            with written_beside(path) as temporary, temporary.open("wb") as file:
                while part := next_part():
                    size += len(part)
                    if size > most:
                        raise too_large
                    file.write(part)
        except ClientDisconnect as error:
            raise Refused(400, expected="a whole file", found="one cut short", do="send it again") from error
        return serving.scans.add(path)

    return await serving.worker.read(received)
