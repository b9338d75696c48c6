"""What is sent of a session as files: the scan, the mask or the part of it that changed, and what was drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from starlette.responses import Response

from segfocal.grid import Volume
from segfocal.io import nifti, volumes
from segfocal.serve.history import Prompted
from segfocal.serve.mask import Box
from segfocal.serve.refusal import Refused
from segfocal.serve.session import Session

_BINARY = "application/octet-stream"
_tasks: set[asyncio.Task[None]] = set()  # the loop itself knows its tasks by weak references alone


def image_name(session: Session) -> str:
    """Return how the file of the first channel ends, by which viewers know its format."""
    return "image.nii" if session.scan.files[0].name.lower().endswith(".nii") else "image.nii.gz"


def image_file(session: Session) -> Path:
    """Return the first channel as a NIfTI file: the scan's own, or one that is made of another format."""
    session.scan.check_unchanged(session.history.stamps)
    with session.lock_of_files:
        return nifti_of(session.scan.files[0], session.folder / "image.nii.gz")


def nifti_of(scan: Path | Volume, made: Path) -> Path:
    """Return a scan as a NIfTI file: its own, or `made` where it is none, written once."""
    if isinstance(scan, Path) and nifti.is_nifti(scan):
        return scan
    if not made.exists():
        nifti.write_new(made, volumes.read_stored(scan) if isinstance(scan, Path) else scan, overwrite=True)
    return made


def mask_file(session: Session, known: str | None) -> Response:
    """Return the mask as a NIfTI file with the scan's geometry; 304 where the client has it already.

    Args:
        session: whose mask it is.
        known: the ETag that the client knows.
    """
    revision = session.revision
    tag = f'"{session.id}-{revision}"'
    if known == tag:
        return Response(status_code=304, headers={"ETag": tag})
    made = session.folder / "mask.nii.gz"
    labels = session.mask()
    with session.lock_of_files:
        session.scan.check_unchanged(session.history.stamps)
        volume = Volume(array=labels, grid=session.grid)
        nifti.write(made, volume, like=session.scan.geometry(), overwrite=True)
        data = made.read_bytes()
    return Response(data, media_type=_BINARY, headers={"ETag": tag, "Cache-Control": "no-cache"})


def mask_part(session: Session, since: int | None) -> Response:
    """Return the label values in the box that changed after a revision, the scan's first axis fastest; 204 of none."""
    revision = session.revision
    box = session.box_since(since)
    if box is None:
        return Response(status_code=204, headers={"X-Revision": str(revision)})
    return labels_sent(session.mask(box), box, revision=revision)


def labels_sent(labels: NDArray, box: Box, *, revision: int) -> Response:
    """Return label values of a box, the scan's first axis fastest, with what says where they lie."""
    return Response(
        labels.tobytes(order="F"),
        media_type=_BINARY,
        headers={
            "X-Lower": ",".join(map(str, box[0])),
            "X-Upper": ",".join(map(str, box[1])),
            "X-Dtype": labels.dtype.name,
            "X-Revision": str(revision),
        },
    )


def drawn_prompts(session: Session) -> list[dict[str, Any]]:
    """Return what was drawn, to be drawn again."""
    return [
        {
            "number": action.serial,
            "structure": action.structure,
            "kind": action.kind,
            "positive": action.positive,
            "world_mm": action.world_mm,
            "plane": action.plane,
        }
        for action in session.standing.asking
        if isinstance(action, Prompted)
    ]


def in_background(work: Coroutine[Any, Any, Any]) -> None:
    """Let work go on that nobody waits for; the next request that needs it tells what went wrong."""

    async def quietly() -> None:
        with suppress(Refused):
            await work

    task = asyncio.get_running_loop().create_task(quietly())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
