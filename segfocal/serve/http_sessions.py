"""The requests about one session: what it holds, and everything that a person does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, JSONResponse, Response

from segfocal.serve import files_sent
from segfocal.serve.disagreement import disagreement
from segfocal.serve.mask import Box
from segfocal.serve.options import ServeOptions
from segfocal.serve.progress import Progress
from segfocal.serve.refusal import Refused
from segfocal.serve.requests import (
    AbsentForm,
    CarryForm,
    Nothing,
    OpenForm,
    PromptForm,
    RequestForm,
    ResetForm,
    StrokeForm,
    read_form,
)
from segfocal.serve.session import Change, Session
from segfocal.serve.sessions import Sessions
from segfocal.serve.training_folder import train_command
from segfocal.serve.worker import Worker

_AT = "/api/sessions/{session}"


def router(sessions: Sessions, worker: Worker) -> APIRouter:
    """Return the routes."""
    asked = SessionRequests(sessions, worker)
    routes = APIRouter()
    routes.add_api_route("/api/sessions", asked.listed, methods=["GET"])
    routes.add_api_route("/api/sessions", asked.opened, methods=["POST"])
    looks: dict[str, Callable[..., Any]] = {
        "": asked.described,
        "/prompts": asked.prompts,
        "/prompts.json": asked.prompts_file,
        "/image.nii.gz": asked.image,
        "/image.nii": asked.image,
        "/mask.nii.gz": asked.mask,
        "/mask.bin": asked.changed_mask,
        "/disagreement": asked.disagreement,
        "/progress": asked.progress,
    }
    for path, answer in looks.items():
        routes.add_api_route(_AT + path, answer, methods=["GET"])
    acts: dict[str, Callable[..., Any]] = {
        "/prompts": asked.add_prompt,
        "/absent": asked.add_absence,
        "/reset": asked.reset,
        "/carry": asked.carry,
        "/undo": asked.undo,
        "/redo": asked.redo,
        "/predict": asked.predict,
        "/save": asked.save,
        "/cancel": asked.cancel,
        "/close": asked.close,
    }
    for path, answer in acts.items():
        routes.add_api_route(_AT + path, answer, methods=["POST"])
    routes.add_api_route(_AT + "/edits", asked.add_stroke, methods=["PUT"])
    routes.add_api_route(_AT, asked.forget, methods=["DELETE"])
    return routes


class SessionRequests:
    """Answers the requests about sessions; what takes long is done by the worker.

    Args:
        sessions: by their id.
        worker: its threads.
    """

    def __init__(self, sessions: Sessions, worker: Worker) -> None:
        self.sessions, self.worker = sessions, worker

    async def _found(self, session: str, *, prepared: bool = False) -> Session:
        found = await self.worker.read(lambda: self.sessions.find(session))
        if prepared and not found.ready:
            await self.worker.run(found.prepare, session=session)
        return found

    async def _acted(
        self, session: str, form: RequestForm, job: Callable[[Session], Change], *, short: bool = True
    ) -> dict[str, Any]:
        found = await self._found(session)
        found.progress.waiting += 1
        found.progress.between = self.worker.let_others
        try:
            return await self.worker.run(lambda: _acted(found, form, job), session=session, short=short and found.ready)
        finally:
            found.progress.waiting -= 1

    async def listed(self) -> dict[str, Any]:
        """List the sessions."""
        rows = [
            {
                "id": name,
                "scan": one.scan,
                "name": one.name,
                "revision": one.revision,
                "saved": one.saved_revision == one.revision,
            }
            for name, one in self.sessions.all().items()
        ]
        return {"sessions": rows}

    async def opened(self, request: Request) -> Response:
        """Open a scan; its voxels are read meanwhile."""
        form = await read_form(request, OpenForm)
        known = self.sessions.of_scan(form.scan)
        found = await self.worker.read(lambda: self.sessions.open(form.scan))
        if not found.ready:
            files_sent.in_background(self.worker.run(found.prepare, session=found.id))
        return JSONResponse(describe(found), status_code=201 if known is None else 200)

    async def described(self, session: str) -> dict[str, Any]:
        """Say where a session stands."""
        return describe(await self._found(session))

    async def prompts(self, session: str) -> dict[str, Any]:
        """Return what was drawn."""
        return {"prompts": files_sent.drawn_prompts(await self._found(session))}

    async def prompts_file(self, session: str) -> Response:
        """Return the file of prompts."""
        return JSONResponse((await self._found(session)).prompts())

    async def image(self, session: str) -> Response:
        """Send the first channel of the scan."""
        found = await self._found(session)
        path = await self.worker.read(lambda: files_sent.image_file(found))
        return FileResponse(path, media_type="application/octet-stream")

    async def mask(self, session: str, request: Request) -> Response:
        """Send the mask as NIfTI."""
        found = await self._found(session, prepared=True)
        return await self.worker.read(lambda: files_sent.mask_file(found, request.headers.get("if-none-match")))

    async def changed_mask(self, session: str, since: int | None = None) -> Response:
        """Send the part of the mask that changed."""
        found = await self._found(session, prepared=True)
        return await self.worker.read(lambda: files_sent.mask_part(found, since))

    async def disagreement(self, session: str, structure: str | None = None) -> dict[str, Any]:
        """List the slices to look at."""
        found = await self._found(session, prepared=True)
        return {"slices": await self.worker.read(lambda: disagreement(found, structure))}

    async def progress(self, session: str) -> dict[str, Any]:
        """Say what is being done."""
        found = self.sessions.loaded(session)
        if found is None:
            self.sessions.check_known(session)
            return Progress().told()
        return found.progress.told()

    async def add_prompt(self, session: str, request: Request) -> dict[str, Any]:
        """Add what was drawn."""
        form = await read_form(request, PromptForm)
        about: dict[str, Any] = {"positive": form.positive, "plane": form.plane}
        return await self._acted(
            session, form, lambda one: one.add_prompt(form.kind, form.structure, form.world_mm, **about)
        )

    async def add_absence(self, session: str, request: Request) -> dict[str, Any]:
        """Say that a slice holds nothing of a structure."""
        form = await read_form(request, AbsentForm)
        return await self._acted(session, form, lambda one: one.add_absence(form.structure, form.world_mm[0]))

    async def add_stroke(self, session: str, request: Request) -> dict[str, Any]:
        """Paint or erase."""
        form = await read_form(request, StrokeForm)
        about: dict[str, Any] = {"radius_mm": form.radius_mm, "erase": form.erase, "plane": form.plane}
        return await self._acted(session, form, lambda one: one.add_stroke(form.structure, form.world_mm, **about))

    async def reset(self, session: str, request: Request) -> dict[str, Any]:
        """Take away what was drawn."""
        form = await read_form(request, ResetForm)
        return await self._acted(session, form, lambda one: one.reset(form.structure))

    async def carry(self, session: str, request: Request) -> dict[str, Any]:
        """Propagate to the neighbours."""
        form = await read_form(request, CarryForm)
        return await self._acted(session, form, lambda one: one.carry(form.reach_mm), short=False)

    async def undo(self, session: str, request: Request) -> dict[str, Any]:
        """Take the last action back."""
        return await self._acted(session, await read_form(request, Nothing), Session.undo)

    async def redo(self, session: str, request: Request) -> dict[str, Any]:
        """Do it again."""
        return await self._acted(session, await read_form(request, Nothing), Session.redo)

    async def predict(self, session: str, request: Request) -> dict[str, Any]:
        """Segment the whole scan without a prompt."""
        return await self._acted(session, await read_form(request, Nothing), Session.predict, short=False)

    async def save(self, session: str, request: Request) -> dict[str, Any]:
        """Write mask and prompts into the data set of corrections."""
        form = await read_form(request, Nothing)
        found, options = await self._found(session), self.sessions.options
        return await self.worker.run(lambda: _saved(found, form, options), session=session)

    async def cancel(self, session: str) -> dict[str, Any]:
        """Stop what is being done."""
        found = self.sessions.loaded(session)
        return {"stopped": found is not None and found.progress.stop()}

    async def close(self, session: str) -> dict[str, Any]:
        """Take a session out of memory."""
        self.sessions.check_known(session)
        await self.worker.run(lambda: self.sessions.close(session))
        return {"closed": session}

    async def forget(self, session: str) -> dict[str, Any]:
        """Delete a session."""
        await self.worker.run(lambda: self.sessions.forget(session))
        return {"forgotten": session}


def _saved(session: Session, form: RequestForm, options: ServeOptions) -> dict[str, Any]:
    _check_revision(session, form)
    files = session.save(options.output)
    return {
        **describe(session),
        "images": [str(path) for path in files.images],
        "mask": str(files.mask),
        "prompts_file": str(files.prompts),
        "train_command": train_command(options.output, session.structures, options.train_options),
    }


def _acted(session: Session, form: RequestForm, job: Callable[[Session], Change]) -> dict[str, Any]:
    _check_revision(session, form)
    change = job(session)
    box = None if change.box is None else _box(change.box)
    return {**describe(session), "changed": box, "seconds": change.seconds}


def _check_revision(session: Session, form: RequestForm) -> None:
    """Raise Refused where the client knows another revision than there is: another tab changed the session."""
    if form.revision is not None and form.revision != session.revision:
        raise Refused(
            409,
            expected=f"revision {session.revision} of this session",
            found=f"{form.revision}: another tab or viewer changed it meanwhile",
            do="read the session again, then repeat",
        )


def _box(box: Box) -> dict[str, Any]:
    return {"lower": list(box[0]), "upper": list(box[1])}


def describe(session: Session) -> dict[str, Any]:
    """Return where a session stands, without its voxels."""
    standing, history = session.standing, session.history
    return {
        "session": session.id,
        "scan": session.scan.id,
        "name": session.scan.name,
        "shape": list(session.grid.shape),
        "affine": session.grid.affine.tolist(),
        "spacing_mm": list(session.grid.spacing_mm),
        "image": f"/api/sessions/{session.id}/{files_sent.image_name(session)}",
        "slice_axis": session.slice_axis,
        "revision": history.revision,
        "prompts": len(standing.asking),
        "edited": bool(standing.strokes),
        "can_undo": history.done > 0,
        "can_redo": history.done < len(history.actions),
        "reach_mm": standing.reach_mm,
        "pending": standing.pending,
        "saved_revision": history.saved_revision,
        "labelled": session.scan.label is not None,
        "ready": session.ready,
    }
