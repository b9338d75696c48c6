"""A file of prompts for one scan, brought together with its bundle, the options, and the folders of what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from segfocal.grid import Grid
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.prompt_file import read_prompts
from segfocal.inference.prompted.propagation import PromptedScan
from segfocal.inference.prompted.slice_model import Propagation


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """A JSON file of prompts (docs/prompted_volumes.md), and how far they are carried.

    session: a folder where answers about slices are kept; None keeps nothing. embeddings: a folder for what the encoder
    makes of slices, by default in the session.
    """

    file: Path
    session: Path | None = None
    embeddings: Path | None = None
    options: Propagation = field(default_factory=Propagation)


@contextmanager
def prompted_scan(
    prompting: Prompting | None, scan: Grid, bundle: Bundle, *, batch_size: int
) -> Iterator[PromptedScan | None]:
    """Yield the prompts of a scan, ready to be answered; None where there are none.

    Raises:
        UserError: as `read_prompts`, and for folders that cannot be written.
    """
    if prompting is None:
        yield None
        return
    prompts = read_prompts(prompting.file, scan, bundle.structures, bundle.grid)
    with TemporaryDirectory(prefix="segfocal_") as temporary:
        kept = prompting.session or Path(temporary)
        yield PromptedScan(
            prompts=prompts,
            structures=bundle.structures,
            spacing_mm=bundle.grid.of(scan).spacing_mm,
            session=kept / "answers",
            embeddings=prompting.embeddings or kept / "embeddings",
            options=prompting.options,
            batch_size=batch_size,
        )
