"""What an evaluation with prompts is asked to do: one record of a model, cases, and the command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from segfocal.data.case import Case
from segfocal.data.store.prepared_case import Preparation
from segfocal.evaluate.prompts.protocol import Protocol
from segfocal.inference.prompted.propagation_options import PropagationOptions


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptEvaluation:
    """A model to evaluate on labelled cases.

    Args:
        model: that takes prompts.
        preparation: how slices are prepared, and the structures to ask for.
        cases: with labels.
        protocol: which prompts are drawn, and how.
        output: the folder for the results.
        cache: the folder of prepared slices, shared with training.
        neighbours: slices on each side that the model sees as further channels.
        unprompted: names of the structures that the model segments without a prompt; the prompt "none" is left out for
            others. None: it segments all of them.
        embeddings: a folder to keep the encoder's output for each slice; None keeps nothing.
        batch_size: prompts answered at a time, ≥ 1.
        device: auto, cpu or cuda.
        overwrite: whether results of an earlier evaluation may be replaced.
        read: files and folders that are read besides those of the cases; no result may be one of them.
        trained: names of the structures that the model was trained on; others are summed up apart, on volumes.
        propagation: on volumes, what a slice hands on to the next one.
        facts: of model, weights and data, as JSON values for the summary.

    Raises:
        ValueError: a batch_size out of range.
    """

    model: nn.Module
    preparation: Preparation
    cases: Sequence[Case]
    protocol: Protocol
    output: Path
    cache: Path
    neighbours: int = 0
    unprompted: Sequence[str] | None = None
    embeddings: Path | None = None
    batch_size: int = 8
    device: str = "auto"
    overwrite: bool = False
    read: Sequence[str | Path] = ()
    trained: Sequence[str] = ()
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"expected batch_size ≥ 1; got {self.batch_size!r}")

    def segments_unprompted(self, structure: str) -> bool:
        """Return whether the model segments a structure without a prompt."""
        return self.unprompted is None or structure in self.unprompted
