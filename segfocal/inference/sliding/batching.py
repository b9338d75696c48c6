"""How many windows go through a network at a time: as many as asked for, halved where memory does not hold them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segfocal.errors import UserError


class Batching:
    """A batch size that shrinks when memory runs out, and remembers what worked for the batches and scans to come.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"expected a batch size ≥ 1; got {size}")
        self.size = size

    def run(self, network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Return the network's answer to `batch` [b, ...], asked in parts of at most `size`.

        Raises:
            UserError: memory does not hold a single window.
        """
        answers: list[Tensor] = []
        done = 0
        while done < len(batch):
            part = batch[done : done + self.size]
            answer = _attempt(network, part)
            if answer is None:
                self._halve(len(part), batch)
            else:
                answers.append(answer)
                done += len(part)
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def _halve(self, tried: int, batch: Tensor) -> None:
        if tried == 1:
            raise UserError(
                expected=f"memory for one window of {'×'.join(str(n) for n in batch.shape[2:])}",
                found=f"too little of it on {batch.device}",
                do="close other programs, use device=cpu, or train with a smaller data.window",
            )
        self.size = max(1, tried // 2)
        if batch.device.type == "cuda":
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out: on a GPU, or torch's allocator on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _attempt(network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor | None:
    """Return the answer, or None when memory ran out; by then what was half done is forgotten."""
    try:
        return network(batch)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            return None
        raise
