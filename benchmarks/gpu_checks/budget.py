"""The time guard: every part has a share of the time, and what does not fit is left out by name, never silently."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

import torch

from gpu_checks.row import Row


class LeftOut(Exception):
    """A check that is not run here, or not to its end; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a check may use.

    Args:
        seconds: from when this was made.
        steps: of training.
        full: the sizes of a GPU; else small ones, which a CPU does in seconds.
        folder: for its files.
        clock: seconds that pass.
    """

    seconds: float
    steps: int
    full: bool
    folder: Path
    clock: Callable[[], float] = time.monotonic
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "begun", self.clock())

    def left(self) -> float:
        """Return the seconds that are left, ≤ 0 when they are used up."""
        return self.begun + self.seconds - self.clock()

    def share(self, of_the_rest: float) -> Budget:
        """Return a budget of this share, in [0,1], of what is left."""
        return replace(self, seconds=max(0.0, self.left() * of_the_rest))


Check = Callable[[torch.device, Budget], Sequence[Row]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A check with its place in the whole.

    Args:
        name: in the table.
        check: does the work.
        share: of the time, against the shares of the others.
        least: seconds below which it is not begun with the sizes of a GPU, as it cannot be interrupted.
    """

    name: str
    check: Check
    share: float = 1.0
    least: float = 0.0


def in_turn(parts: Sequence[Part], device: torch.device, budget: Budget) -> Iterator[Row]:
    """Yield the rows of parts, one after the other.

    Each gets its share of the time that is left, so that what one does not use goes to those after it, and what one
    uses beyond its share is taken from all of them. An exception is a failed row, and the rest goes on.
    """
    for number, part in enumerate(parts):
        own = budget.share(part.share / sum(other.share for other in parts[number:]))
        for row in _rows(part, device, own):
            yield replace(row, name=", ".join(name for name in (part.name, row.name) if name))


def _rows(part: Part, device: torch.device, budget: Budget) -> Sequence[Row]:
    least = part.least if budget.full else 0.0
    if budget.left() <= 0 or budget.left() < least:
        wanted = f", of the {least:.0f} s it takes" if least else ""
        return [Row(verdict="left out", found=f"{max(0.0, budget.left()):.0f} s are left for it{wanted}")]
    try:
        with settings_restored(), silent():
            return part.check(device, budget)
    except LeftOut as reason:
        return [Row(verdict="left out", found=str(reason))]
    except Exception as error:  # whatever a part raises is what it found; the others are asked all the same
        return [Row(verdict="fail", found=one_line(error))]
    finally:
        if device.type == "cuda":  # a part begins with the memory of none before it
            gc.collect()
            torch.cuda.empty_cache()


def one_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"


@contextmanager
def silent() -> Iterator[None]:
    """Print nothing of what the block prints: the table stands alone."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


@contextmanager
def settings_restored() -> Iterator[None]:
    """Put back what the block changes for the whole process: how products are rounded, what is refused."""
    from torch._dynamo import config as dynamo

    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    deterministic, suppressed = torch.are_deterministic_algorithms_enabled(), dynamo.suppress_errors
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        torch.use_deterministic_algorithms(deterministic)
        dynamo.suppress_errors = suppressed
