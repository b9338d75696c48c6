"""What is found in a scan, in scratch files beside the output, so that its size is no matter of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.io.scratch import release, scratch_array
from segfocal.losses.links import margins
from segfocal.predict.intensity_check import Foreign

_ONE = 65535  # a probability of 1


class ScratchProbabilities:
    """Keeps each structure's probability, as uint16 where 65535 is 1, of the logits of a scan that it is shown.

    arrays are one a structure, of the scan's shape.
    """

    def __init__(self, arrays: Sequence[NDArray], bundle: Bundle, grid: Grid) -> None:
        self.arrays, self.link = arrays, bundle.link
        turned = grid.orientation_to(bundle.grid.frame)
        self._turned = [turned.apply(array) for array in arrays]

    @classmethod
    @contextmanager
    def on_disk(cls, folder: Path, bundle: Bundle, grid: Grid) -> Iterator[ScratchProbabilities]:
        """Yield maps in scratch files of a folder, which are gone afterwards."""
        with ExitStack() as stack:
            files = [scratch_array(folder, grid.shape, np.uint16) for _ in bundle.structures]
            yield cls([stack.enter_context(file) for file in files], bundle, grid)

    def __call__(self, start: int, logits: Tensor) -> None:
        """Keep the probabilities of logits [n,k,h,w] of the slices from `start`."""
        if self.link == "softmax":
            logits = margins(logits)
        probabilities = (logits.sigmoid() * _ONE).round().to(torch.int32).cpu().numpy()
        for k, turned in enumerate(self._turned):
            turned[start : start + len(probabilities)] = probabilities[:, k]
            release(self.arrays[k])


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A scan and what was found in it, in scratch files beside the output while `held` is open.

    Args:
        scan: as it was read.
        mask: the label map, on the scan's grid.
        maps: a probability map of each structure; None where none are asked for.
        prompts_report: what answering prompts says in the report.
        foreign: what sets the scan's values apart from those of the training; None where nothing does.
        held: closes the scratch files.
    """

    scan: Volume
    mask: Volume
    maps: ScratchProbabilities | None
    prompts_report: dict[str, Any]
    foreign: Foreign | None
    held: ExitStack
