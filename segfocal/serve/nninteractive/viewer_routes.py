"""The calls of the nnInteractive client: claim → set_image → set_target_buffer → prompts → release.

The key of the server is the client's API key. A lease is a session of this server, forgotten when the lease ends: the
viewer has the image and the mask. An answer to a prompt is the part of the mask that changed, packed, with its place in
a header.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segfocal.errors import UserError
from segfocal.serve.http_app import Serving
from segfocal.serve.nninteractive.capabilities import capabilities
from segfocal.serve.nninteractive.leases import Lease, Leases
from segfocal.serve.nninteractive.packed_array import ArrayLimits, pack, unpack
from segfocal.serve.nninteractive.viewer_messages import (
    LEASE,
    META,
    BoxForm,
    ImageForm,
    InitialForm,
    MarkedForm,
    PointForm,
    PredictForm,
    TargetForm,
    ZoomForm,
    read_body,
    read_form,
    read_meta,
)
from segfocal.serve.nninteractive.viewer_prompts import SeenImage, ViewerPrompt
from segfocal.serve.nninteractive.viewer_session import Patch, ViewerSession
from segfocal.serve.refusal import Refused, as_json, refused

_SILENT_SECONDS = 60.0  # the client sends a sign of life twice in this time
_BETWEEN_LOOKS = 30.0  # seconds, for leases that ended
_HEADER_BYTES = 4096  # of a packed array, beyond its voxels: what does not pack grows by little
_WIDEST = 8  # bytes of a voxel

Marked = Callable[[SeenImage, NDArray, MarkedForm], ViewerPrompt]
Answer = Callable[[Request], Awaitable[Response]]


def viewer_routes(serving: Serving, *, silent_seconds: float = _SILENT_SECONDS) -> APIRouter:
    """Return the routes.

    Args:
        serving: what answers; its limits hold for viewers too.
        silent_seconds: without any request, after which a viewer counts as gone.
    """
    calls = ViewerCalls(serving, silent_seconds=silent_seconds)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(calls.look())
        try:
            yield
        finally:
            looking.cancel()
            await calls.close()

    routes = APIRouter(lifespan=living)
    looks: Mapping[str, Answer] = {"/capabilities": calls.capabilities, "/lease_status": calls.lease_status}
    acts: Mapping[str, Answer] = {
        "/claim": calls.claim,
        "/release": calls.release,
        "/heartbeat": calls.heartbeat,
        "/set_image": calls.set_image,
        "/set_target_buffer": calls.set_target_buffer,
        "/set_do_autozoom": calls.set_do_autozoom,
        "/reset_interactions": calls.reset_interactions,
        "/undo": calls.undo,
        "/predict": calls.predict,
        "/add_point_interaction": calls.add_point,
        "/add_bbox_interaction": calls.add_box,
        "/add_scribble_interaction": calls.add_scribble,
        "/add_lasso_interaction": calls.add_lasso,
        "/add_initial_seg_interaction": calls.add_initial_mask,
    }
    for method, answers in (("GET", looks), ("POST", acts)):
        for path, answer in answers.items():
            routes.add_route(path, _told(answer), methods=[method])
    return routes


class ViewerCalls:
    """Answers the calls; what takes long is done by the worker, in the model's thread all that is about sessions.

    Args:
        serving: options, sessions and worker.
        silent_seconds: without any request, after which a lease ends.
    """

    def __init__(self, serving: Serving, *, silent_seconds: float) -> None:
        limits = serving.options.limits
        self.serving, self.worker = serving, serving.worker
        self.most_bytes = limits.upload_mib << 20
        self.leases: Leases[ViewerSession] = Leases(
            most=limits.sessions, idle_seconds=60 * limits.idle_minutes, silent_seconds=silent_seconds
        )
        self._capabilities = capabilities(serving.predictor)
        self._opened = 0

    async def capabilities(self, request: Request) -> Response:
        """Say what the bundle can be asked."""
        return JSONResponse(self._capabilities)

    async def claim(self, request: Request) -> Response:
        """Begin a lease."""
        await self._forget_ended()
        lease = self.leases.claim(ViewerSession(self.serving.sessions))
        told = {
            "lease_token": lease.token,
            "idle_timeout_seconds": self.leases.idle_seconds,
            "liveness_timeout_seconds": self.leases.silent_seconds,
            "max_sessions": self.leases.most,
        }
        return JSONResponse(told)

    async def release(self, request: Request) -> Response:
        """End a lease; one that ended before is no error."""
        for session in self.leases.release(request.headers.get(LEASE)):
            await self.worker.run(session.close)
        return JSONResponse({"released": True})

    async def heartbeat(self, request: Request) -> Response:
        """Note that the viewer lives."""
        lease = await self._lease(request, acting=False)
        return JSONResponse({"remaining_seconds": self.leases.remaining_seconds(lease)})

    async def lease_status(self, request: Request) -> Response:
        """Say how long the lease lasts without a user's action."""
        lease = await self._lease(request, acting=False)
        told = {
            "remaining_seconds": self.leases.remaining_seconds(lease),
            "idle_timeout_seconds": self.leases.idle_seconds,
        }
        return JSONResponse(told)

    async def set_image(self, request: Request) -> Response:
        """Begin with an image."""
        session = await self._session(request)
        form = read_meta(request, ImageForm)
        array = await self._array(request, ndim=4, most_bytes=self.most_bytes, what="the image")
        self._opened += 1
        name = f"viewer_{self._opened}"
        shape = await self.worker.run(lambda: session.open(array, form.image_properties, name=name))
        return JSONResponse({"original_image_shape": list(shape)})

    async def set_target_buffer(self, request: Request) -> Response:
        """Note the array that the viewer keeps its mask in."""
        session, form = await self._session(request), await read_form(request, TargetForm)
        await self.worker.run(lambda: session.set_target(form))
        return JSONResponse({})

    async def set_do_autozoom(self, request: Request) -> Response:
        """Carry answers to the slices beside them, or not."""
        session = await self._session(request)
        session.carries = (await read_form(request, ZoomForm)).do_autozoom
        return JSONResponse({})

    async def reset_interactions(self, request: Request) -> Response:
        """Take all prompts away."""
        session = await self._session(request)
        await self.worker.run(session.reset)
        return JSONResponse({})

    async def undo(self, request: Request) -> Response:
        """Take the last prompt back."""
        session = await self._session(request)
        return await self._patched(session.undo)

    async def predict(self, request: Request) -> Response:
        """Answer the prompts that wait."""
        session = await self._session(request)
        await read_form(request, PredictForm)
        return await self._patched(session.predict)

    async def add_point(self, request: Request) -> Response:
        """Take a click."""
        session, form = await self._session(request), await read_form(request, PointForm)
        return await self._patched(lambda: session.add(session.image.prompt_of_point(form), run=form.run_prediction))

    async def add_box(self, request: Request) -> Response:
        """Take a box."""
        session, form = await self._session(request), await read_form(request, BoxForm)
        return await self._patched(lambda: session.add(session.image.prompt_of_box(form), run=form.run_prediction))

    async def add_scribble(self, request: Request) -> Response:
        """Take a scribble."""
        return await self._add_marked(request, SeenImage.prompt_of_scribble, what="the scribble")

    async def add_lasso(self, request: Request) -> Response:
        """Take a lasso."""
        return await self._add_marked(request, SeenImage.prompt_of_lasso, what="the lasso")

    async def add_initial_mask(self, request: Request) -> Response:
        """Begin anew with a mask."""
        session, form = await self._session(request), read_meta(request, InitialForm)
        mask = await self._mask(request, session, what="the initial segmentation")
        return await self._patched(lambda: session.begin_with(mask, run=form.run_prediction))

    async def _add_marked(self, request: Request, prompt_of: Marked, *, what: str) -> Response:
        session, form = await self._session(request), read_meta(request, MarkedForm)
        marked = await self._mask(request, session, what=what)
        prompt = await self.worker.read(lambda: prompt_of(session.image, marked, form))
        return await self._patched(lambda: session.add(prompt, run=form.run_prediction))

    async def _lease(self, request: Request, *, acting: bool) -> Lease[ViewerSession]:
        await self._forget_ended()
        return self.leases.find(request.headers.get(LEASE), acting=acting)

    async def _session(self, request: Request) -> ViewerSession:
        return (await self._lease(request, acting=True)).held

    async def look(self) -> None:
        """Forget now and then what ended leases held, for as long as the server runs."""
        while True:
            await asyncio.sleep(_BETWEEN_LOOKS)
            with suppress(Refused):
                await self._forget_ended()

    async def close(self) -> None:
        """Forget what all leases hold."""
        for session in self.leases.release_all():
            with suppress(Refused):
                await self.worker.run(session.close)

    async def _forget_ended(self) -> None:
        for session in self.leases.release_ended():
            await self.worker.run(session.close)

    async def _mask(self, request: Request, session: ViewerSession, *, what: str) -> NDArray:
        """Return an array of at most the image's voxels."""
        voxels = 1
        for side in session.image.shape:
            voxels *= side
        return await self._array(request, ndim=3, most_bytes=min(self.most_bytes, voxels * _WIDEST), what=what)

    async def _array(self, request: Request, *, ndim: int, most_bytes: int, what: str) -> NDArray:
        data = await read_body(request, most_bytes + _HEADER_BYTES + most_bytes // 255)
        limits = ArrayLimits(ndim=ndim, most_bytes=most_bytes)
        return await self.worker.read(lambda: unpack(data, limits, what=what))

    async def _patched(self, job: Callable[[], Patch]) -> Response:
        """Answer with what a job changed."""
        patch = await self.worker.run(job)
        told: dict[str, Any] = {"ran_prediction": patch.ran, "bbox": patch.box}
        body = b""
        if patch.values is not None:
            told |= {"dtype": patch.values.dtype.name, "shape": list(patch.values.shape)}
            values = patch.values
            body = await self.worker.read(lambda: pack(values))
        headers = {META: json.dumps(told, separators=(",", ":"))}
        return Response(body, media_type="application/octet-stream", headers=headers)


def _told(answer: Answer) -> Answer:
    """Return a call that answers refusals as the client reads them: the line is called detail."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except UserError as error:
            refusal = refused(error)
            headers = {} if refusal.retry_seconds is None else {"Retry-After": str(refusal.retry_seconds)}
            body = as_json(refusal)
            return JSONResponse({"detail": body["error"], **body}, status_code=refusal.status, headers=headers)

    return answered
