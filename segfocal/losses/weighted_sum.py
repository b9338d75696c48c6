"""The weighted sum of named loss terms, which also reports each term on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from segfocal.losses.focal import FocalLoss
from segfocal.losses.fused import compiles, pixel_sums
from segfocal.losses.inputs import check_pair

Compile = Literal["auto"] | bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LossReport:
    """A loss to call backward on, and its unweighted terms, detached, by name."""

    total: Tensor
    terms: dict[str, Tensor]

    @staticmethod
    def mean(reports: list[LossReport]) -> LossReport:
        """Return the mean over reports with the same terms (the rounds of a promptable task)."""
        names = reports[0].terms
        return LossReport(
            total=torch.stack([report.total for report in reports]).mean(),
            terms={name: torch.stack([report.terms[name] for report in reports]).mean() for name in names},
        )


class WeightedSum(nn.Module):
    """Σ weight·term over named losses, called with logits and target of one shape `[b,k,*space]`.

    Args:
        terms: losses by name.
        weights: one factor for each name, ≥ 0.
        compile: fuse the terms with torch.compile: "auto" does so for CUDA logits, True always, False never. Focal
            and overlap terms on a hard target become one pass each way (`segfocal.losses.fused`). A machine that
            cannot compile gets the eager form and one warning.

    Raises:
        ValueError: no terms, names that do not match, a negative weight; a term that needs the IoU head's output
            from a model that predicts none; whatever the terms raise.
    """

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float], compile: Compile = "auto") -> None:
        super().__init__()
        if not terms or set(terms) != set(weights):
            raise ValueError(
                f"expected one weight for each loss term; got terms {sorted(terms)} and weights {sorted(weights)}: "
                "give loss.weights the same names as loss.terms"
            )
        if any(weight < 0 for weight in weights.values()):
            raise ValueError(f"expected weights ≥ 0; got {dict(weights)}")
        self.terms = nn.ModuleDict(terms)
        self.weights = {name: float(weights[name]) for name in terms}
        self.compiling = compile
        self._compiled: Callable[..., dict[str, Tensor]] | None = None

    @property
    def uses_predicted_iou(self) -> bool:
        """Whether a term needs the IoU head's output."""
        return any(getattr(term, "uses_predicted_iou", False) for term in self.terms.values())

    def forward(self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None = None) -> LossReport:
        """Return the total and every unweighted term; `predicted_iou` [b,k] goes to the terms that use it."""
        if predicted_iou is None and self.uses_predicted_iou:
            raise ValueError(
                "expected a predicted IoU for the IoU-head term of the loss; got none: use a promptable task"
            )
        values = self._values(logits, target, predicted_iou)
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return LossReport(total=total, terms={name: value.detach() for name, value in values.items()})

    def _values(self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None) -> dict[str, Tensor]:
        wanted = logits.is_cuda if self.compiling == "auto" else bool(self.compiling)
        if wanted and compiles(logits.device.type):
            if self._fusable(target):
                return self._fused(logits, target)
            if self._compiled is None:
                self._compiled = torch.compile(self._eager)
            return self._compiled(logits, target, predicted_iou)
        return self._eager(logits, target, predicted_iou)

    def _fusable(self, target: Tensor) -> bool:
        """Whether one pass over the pixels serves all terms: a hard target, and focal terms of one γ and α."""
        terms = list(self.terms.values())
        focal = {(term.gamma, term.alpha) for term in terms if isinstance(term, FocalLoss)}
        maps = any(getattr(term, "reduction", "") == "none" for term in terms)
        return (
            not target.is_floating_point()
            and len(focal) <= 1
            and not maps
            and all(hasattr(term, "from_sums") for term in terms)
        )

    def _fused(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        check_pair(logits, target)
        focal = next((term for term in self.terms.values() if isinstance(term, FocalLoss)), FocalLoss())
        with torch.autocast(logits.device.type, enabled=False):
            sums = pixel_sums(logits, target, gamma=focal.gamma, alpha=focal.alpha, compiled=True)
            pixels = math.prod(logits.shape[2:])
            return {name: cast(Any, term).from_sums(sums, pixels) for name, term in self.terms.items()}

    def _eager(self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None) -> dict[str, Tensor]:
        values = {}
        for name, term in self.terms.items():
            extra = (predicted_iou,) if getattr(term, "uses_predicted_iou", False) else ()
            values[name] = term(logits, target, *extra)
        return values
