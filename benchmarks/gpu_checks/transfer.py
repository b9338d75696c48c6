"""Batches copied to the GPU while it computes: whether they arrive whole, and how much of the copying is hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from gpu_checks.budget import Budget
from gpu_checks.gauge import gauge
from gpu_checks.row import Row, judged
from segfocal.batch import Batch, Origin, SampleKey
from segfocal.engine.prefetch import on_device

DIFFERENT, ROUNDS = 4, 6  # batches, each of which is sent so often


def overlap(device: torch.device, budget: Budget) -> list[Row]:
    """Check that batches arrive as they were sent while the GPU is busy; time pinned and pageable memory."""
    shape = (16, 1, 1024, 1024) if budget.full else (2, 1, 32, 32)
    pageable = [_batch(shape, number) for number in range(DIFFERENT)]
    pinned = [batch.pin_memory() for batch in pageable] if device.type == "cuda" else pageable
    work = _work_as_long_as_a_copy(pinned, device)
    arrived = all(
        torch.equal(got.image.cpu(), sent.image) and torch.equal(got.target.cpu(), sent.target)
        for got, sent in zip(_worked(on_device(pinned * 2, device), work), pageable * 2, strict=True)
    )
    resident = [batch.to(device) for batch in pageable]
    times = {
        "copying": _seconds(on_device(pinned * ROUNDS, device), _no_work, device),
        "computing": _seconds(resident * ROUNDS, work, device),
        "both, pinned": _seconds(on_device(pinned * ROUNDS, device), work, device),
        "both, pageable": _seconds(on_device(pageable * ROUNDS, device), work, device),
    }
    apart = times["copying"] + times["computing"]
    hidden = (apart - times["both, pinned"]) / min(times["copying"], times["computing"])
    found = f"{hidden:.0%} of what can be hidden is; " + ", ".join(f"{k} {1e3 * s:.1f} ms" for k, s in times.items())
    return [
        Row(name="batches arrive whole", verdict=judged(arrived), found=f"{2 * DIFFERENT} batches while it computes"),
        Row(name="against one after the other", ratio=apart / times["both, pinned"], found=found, numbers=times),
        Row(name="against pageable memory", ratio=times["both, pageable"] / times["both, pinned"]),
    ]


def _batch(shape: Sequence[int], number: int) -> Batch:
    generator = torch.Generator().manual_seed(number)
    image = torch.rand(*shape, generator=generator)
    keys = tuple(SampleKey(0, number, sample) for sample in range(len(image)))
    return Batch(image=image, target=(image > 0.9).to(torch.uint8), keys=keys, origins=(Origin("made"),) * len(image))


def _work_as_long_as_a_copy(batches: Sequence[Batch], device: torch.device) -> Callable[[Batch], None]:
    """Return products of matrices, as many as take about as long as copying a batch."""

    def products(batch: Batch, count: int = 1) -> None:
        for _ in range(count):
            batch.image @ batch.image

    here = [batch.to(device) for batch in batches]
    for batch in here:  # warms up
        products(batch)
    one = _seconds(here, products, device)
    copying = _seconds((batch.to(device) for batch in batches), _no_work, device)
    count = min(100, max(1, round(copying / max(one, 1e-9))))
    return lambda batch: products(batch, count)


def _worked(batches: Iterable[Batch], work: Callable[[Batch], None]) -> Iterable[Batch]:
    for batch in batches:
        work(batch)
        yield batch


def _no_work(batch: Batch) -> None:
    pass


def _seconds(batches: Iterable[Batch], work: Callable[[Batch], None], device: torch.device) -> float:
    with gauge(device) as found:
        for batch in batches:
            work(batch)
    return found.seconds
