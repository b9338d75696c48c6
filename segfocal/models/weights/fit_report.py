"""Which tensors of a weight file a model took and which not. Training prints it and keeps it as weights.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from segfocal.models.weights.matching import Match, TensorChange, grouped


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """The outcome of loading weights; `str` of it is a summary of a few lines.

    Args:
        path: of the file.
        sha256: of the file.
        family: architecture and image size that its tensors are of, in words.
        model: likewise, of the model's tensors.
        match: where each tensor went; what is missing, unexpected or mismatched in it was allowed.
        allow: the name patterns that allowed it.
        origin: source, package, licence and SHA-256 of the original file, where they are known.
    """

    path: str
    sha256: str
    family: str
    model: str
    match: Match
    allow: tuple[str, ...]
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def loaded(self) -> int:
        """Number of tensors that the model took, resized ones included."""
        return len(self.match.taken) + len(self.match.resized)

    def row(self) -> dict[str, Any]:
        """Return all of it for a JSON file."""
        facts = asdict(self)
        match = facts.pop("match")
        taken, origin = match.pop("taken"), facts.pop("origin")
        return {**facts, **origin, "loaded": self.loaded, "unchanged": len(taken), **match}

    def __str__(self) -> str:
        lines = [f"weights: {self.path} ({self.family}): {self.loaded} tensors loaded"]
        if self.match.resized:
            names = grouped([change.name for change in self.match.resized])
            lines.append(f"  resized for {self.model}: {len(self.match.resized)} position tensors ({names})")
        if self.match.added:
            lines.append(f"  new, to be trained: {_counted(self.match.added)}")
        if self.match.copied:
            lines.append(f"  copied from the mask decoder: {_counted(self.match.copied)}")
        if self.match.unused:
            lines.append(f"  left out, no answer depends on them: {_counted(self.match.unused)}")
        lines += [f"  allowed: {problem}" for problem in problems(self.match)]
        return "\n".join(lines)


def problems(match: Match) -> list[str]:
    """Return the differences between file and model in words; [] where there are none."""
    listed = []
    if match.missing:
        listed.append(f"{_counted(match.missing)} missing in the file")
    if match.unexpected:
        listed.append(f"{_counted(match.unexpected)} unknown to the model")
    if match.mismatched:
        listed.append(f"{len(match.mismatched)} of another shape: {_first(match.mismatched)}")
    return listed


def _counted(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) > 1)} ({grouped(names)})"


def _first(changes: tuple[TensorChange, ...]) -> str:
    shown = ", ".join(str(change) for change in changes[:2])
    return f"{shown}, …" if len(changes) > 2 else shown
