"""Batches brought to the device one ahead of their use, so that a GPU computes while the next one is copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from segfocal.batch import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on `device`, each copied to a GPU on a stream of its own while the one before is in use.

    The copy runs beside the computation only from pinned memory. On a CPU batches pass as they are, none ahead.
    """
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    copying = torch.cuda.Stream(device)
    ahead: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            copied = batch.to(device), copying.record_event()
        if ahead is not None:
            yield _arrived(*ahead)
        ahead = copied
    if ahead is not None:
        yield _arrived(*ahead)


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """Let the stream in use wait for a copy, and keep its memory from being reused before that stream is done."""
    stream = torch.cuda.current_stream(batch.image.device)
    stream.wait_event(copied)
    batch.record_stream(stream)
    return batch
