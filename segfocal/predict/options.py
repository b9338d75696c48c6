"""What is asked of a prediction: one frozen record, checked when it is made, from which everything else follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import torch

from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.sliding.sliding_options import SlidingOptions

PostProcessing = Literal["auto", "none"]


class PromptKind(Enum):
    """What a file of prompts holds, and how it is answered."""

    PROPAGATED = "JSON: boxes, points and masks on a few slices, whose answers are propagated to the others"
    BOXES = "JSON: boxes; each slice that they reach is answered alone"
    LABEL_BOXES = "a label map, whose bounding box in each slice is answered alone: for evaluation, it knows the answer"


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """A file of prompts for one scan.

    Args:
        file: JSON as in docs/prompted_volumes.md, or a label map.
        kind: what it holds.
        session: a folder where propagated answers are kept; None keeps nothing.
        embeddings: a folder for the encoder's embeddings; None: in the session.
        propagation: what a slice hands on to the next one, and where that ends.
    """

    file: Path
    kind: PromptKind = PromptKind.PROPAGATED
    session: Path | None = None
    embeddings: Path | None = None
    propagation: PropagationOptions = field(default_factory=PropagationOptions)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written.

    Args:
        mask: the file, named as a mask of the scan's format is; of many scans the folder.
        probabilities: whether a map of each structure is written too, in a file named after mask and structure.
        separate: whether a mask of each structure is written too, in such a file.
        overwrite: whether files that are there are replaced.
    """

    mask: Path
    probabilities: bool = False
    separate: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """One scan to segment, or many.

    Args:
        bundles: folders; of several (folds) the logits are averaged.
        inputs: the scan, a file a channel in the order of training; one place may name many scans.
        outputs: what is written.
        prompts: of one scan; None: windows slide over it.
        sliding: how they do.
        postprocess: "auto" for the first bundle's own rules, or "none".
        device: of the networks; by default the GPU, if there is one.

    Raises:
        UserError: no bundle, no input.
    """

    bundles: tuple[Path, ...]
    inputs: tuple[Path, ...]
    outputs: OutputOptions
    prompts: PromptOptions | None = None
    sliding: SlidingOptions = field(default_factory=SlidingOptions)
    postprocess: PostProcessing = "auto"
    device: torch.device = field(default_factory=lambda: choose_device("auto"))

    def __post_init__(self) -> None:
        for name, given in (("bundle", self.bundles), ("input", self.inputs)):
            if not given:
                raise UserError(expected=f"a path for {name}", found="none", do="give the file or folder")

    @property
    def scan(self) -> Path:
        """The file whose geometry the mask takes: that of the first channel."""
        return self.inputs[0]
