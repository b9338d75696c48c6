"""The weighted sum of named loss terms, which also reports each term on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from segfocal.losses.base import Link, Term
from segfocal.losses.focal import FocalLoss
from segfocal.losses.fused import cannot_compile, compiles, pixel_sums
from segfocal.losses.hardness import sample_cross_entropy
from segfocal.losses.input_checks import check_pair
from segfocal.losses.links import class_indices, with_background
from segfocal.losses.parameter_schedules import Followed, Following

Compile = Literal["auto"] | bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LossReport:
    """A loss to call backward on; its unweighted terms and figures on where it comes from, detached, by name.

    samples: how hard each sample [b] is, its mean cross-entropy, where a criterion was told to say so.
    """

    total: Tensor
    terms: dict[str, Tensor]
    anatomy: dict[str, Tensor] = field(default_factory=dict)
    samples: Tensor | None = None

    @staticmethod
    def mean(reports: Sequence[LossReport]) -> LossReport:
        """Return the mean over reports with the same terms (the rounds of a promptable task)."""
        samples = [report.samples for report in reports if report.samples is not None]
        return LossReport(
            total=torch.stack([report.total for report in reports]).mean(),
            terms=_mean([report.terms for report in reports]),
            anatomy=_mean([report.anatomy for report in reports]),
            samples=torch.stack(samples).mean(0) if samples and len(samples) == len(reports) else None,
        )


def _mean(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


class WeightedSum(Following):
    """Σ weight·term over named losses.

    Args:
        terms: losses by name, all of one link.
        weights: one factor for each name, ≥ 0; each may follow training (`segfocal.losses.parameter_schedules`).
        compile: run the losses through torch.compile: "auto" does so for CUDA logits, True always, False never. A
            machine that cannot compile gets the eager form and one warning.
        anatomy: report where the loss comes from: the share of positive pixels, and for each focal term the mean
            modulating factor and the shares from hard pixels and from positives.

    Called with logits and masks `[b,k,*space]`, whatever the link: softmax terms get the logits with the background's
    fixed at 0 and class indices (`segfocal.losses.links`). Focal and overlap terms on a hard target are one pass over
    the pixels each way (`segfocal.losses.fused`), compiled or not.

    Raises:
        ValueError: no terms, names that do not match, a negative weight, terms of both links; a term that needs the IoU
            head's output from a model that predicts none; whatever the terms raise.
    """

    def __init__(
        self,
        terms: Mapping[str, nn.Module],
        weights: Mapping[str, Followed],
        compile: Compile = "auto",
        anatomy: bool = False,
    ) -> None:
        super().__init__()
        if not terms or set(terms) != set(weights):
            raise ValueError(
                f"expected one weight for each loss term; got terms {sorted(terms)} and weights {sorted(weights)}: "
                "give loss.weights the same names as loss.terms"
            )
        maps = [name for name, term in terms.items() if getattr(term, "reduction", "") == "none"]
        if maps:
            raise ValueError(
                f"expected loss terms that are one number; got reduction none of {maps}: choose mean or sum"
            )
        probabilities = [name for name, term in terms.items() if getattr(term, "takes_probabilities", False)]
        if probabilities:
            raise ValueError(
                f"expected losses of logits; {probabilities} take probabilities: use them in Python, or take the last "
                "sigmoid or softmax off the network and use focal or softmax_focal"
            )
        links = {name: getattr(term, "link", "sigmoid") for name, term in terms.items()}
        if len(set(links.values())) > 1:
            raise ValueError(
                f"expected loss terms of one link; got {links}: choose the softmax or the sigmoid form of every term"
            )
        self.link = cast(Link, next(iter(links.values())))
        self.terms = nn.ModuleDict(terms)
        self.weights = {name: self.follow(f"weights.{name}", weights[name], _check_weight) for name in terms}
        if compile not in ("auto", True, False):
            raise ValueError(f"expected loss.compile auto, true or false; got {compile!r}")
        self.compiling, self.reports_anatomy, self.reports_samples = compile, anatomy, False
        self._compiled: Callable[..., dict[str, Tensor]] | None = None

    @property
    def uses_predicted_iou(self) -> bool:
        """Whether a term needs the IoU head's output."""
        return any(getattr(term, "uses_predicted_iou", False) for term in self.terms.values())

    @property
    def figures(self) -> list[str]:
        """The names of what the anatomy of a report holds."""
        focal = [name for name, term in self.terms.items() if hasattr(term, "anatomy")] if self.reports_anatomy else []
        parts = [f"{name}_{part}" for name in focal for part in ("modulating", "hard_share", "positive_share")]
        return ["positive_pixels", *parts] if self.reports_anatomy else []

    @property
    def followed(self) -> list[str]:
        """The names of the numbers that follow training: "weights.dice", "focal.gamma"."""
        inner = [f"{name}.{key}" for name, term in self._following() for key in term.schedules]
        return [*self.schedules, *inner]

    def at(self, progress: float) -> dict[str, float]:
        """Set every number that follows training to its value at `progress` in [0,1]; return them by name."""
        inner = {f"{name}.{key}": v for name, term in self._following() for key, v in term.at(progress).items()}
        return super().at(progress) | inner

    def set_followed(self, name: str, value: float) -> None:
        """Take over the present value of a weight."""
        self.weights[name.removeprefix("weights.")] = value

    def use_rates(self, rates: Sequence[float]) -> None:
        """Tell every term the share of pixels of the background and of each structure in the training set."""
        for term in self.terms.values():
            if isinstance(term, Term):
                term.use_rates(rates)

    def check_values(self, wanted: bool) -> None:
        """Make every term check the values it is given, or stop doing so; this synchronises a GPU."""
        for term in self.terms.values():
            if isinstance(term, Term):
                term.validate = wanted

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        predicted_iou: Tensor | None = None,
        candidates: Tensor | None = None,
    ) -> LossReport:
        """Return the total and every unweighted term; `predicted_iou` [b,k] goes to the terms that use it.

        candidates: logits [b,m,*space] of all masks that `predicted_iou` [b,m] speaks of, where a network answered with
        several and `logits` [b,1,*space] are one of them; those terms see them in its place.
        """
        if predicted_iou is None and self.uses_predicted_iou:
            raise ValueError(
                "expected a predicted IoU for the IoU-head term of the loss; got none: use a promptable task"
            )
        masks = target
        if self.link == "softmax":
            check_pair(logits, target, validate=self._validates())
            logits, target = with_background(logits), class_indices(target)
        values = self._values(logits, target, predicted_iou, candidates)
        total = torch.as_tensor(sum(self.weights[name] * value for name, value in values.items()))
        figures = self._anatomy(logits, target, masks) if self.reports_anatomy else {}
        hardness = sample_cross_entropy(logits, target, self.link) if self.reports_samples else None
        terms = {name: value.detach() for name, value in values.items()}
        return LossReport(total=total, terms=terms, anatomy=figures, samples=hardness)

    def _following(self) -> list[tuple[str, Following]]:
        return [(name, term) for name, term in self.terms.items() if isinstance(term, Following)]

    def _values(
        self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None, candidates: Tensor | None
    ) -> dict[str, Tensor]:
        wanted = logits.is_cuda if self.compiling == "auto" else bool(self.compiling)
        if self._fusable(target):
            return self._fused(logits, target, compiled=wanted)
        if not wanted or not compiles(logits.device.type) or self._validates():
            return self._each(logits, target, predicted_iou, candidates)
        try:
            self._compiled = self._compiled or torch.compile(self._each)
            return self._compiled(logits, target, predicted_iou, candidates)
        except (ValueError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the compiler's errors share no base class with each other
            cannot_compile(logits.device.type, error)
            return self._each(logits, target, predicted_iou, candidates)

    def _validates(self) -> bool:
        return any(getattr(term, "validate", False) for term in self.terms.values())

    def _fusable(self, target: Tensor) -> bool:
        """Whether one pass over the pixels serves all terms: sigmoid, a hard target, and focal terms of one γ."""
        terms = list(self.terms.values())
        gammas = {term.gamma for term in terms if isinstance(term, FocalLoss)}
        return (
            self.link == "sigmoid"
            and not target.is_floating_point()
            and len(gammas) <= 1
            and all(_has_one_pass(term) for term in terms)
        )

    def _fused(self, logits: Tensor, target: Tensor, *, compiled: bool) -> dict[str, Tensor]:
        check_pair(logits, target, validate=self._validates())
        for term in self.terms.values():
            cast(Term, term).check_ready(logits.shape[1])
        gamma = next((term.gamma for term in self.terms.values() if isinstance(term, FocalLoss)), None)
        with torch.autocast(logits.device.type, enabled=False):
            sums = pixel_sums(logits, target, gamma=gamma, compiled=compiled)
            pixels = math.prod(logits.shape[2:])
            return {name: cast(Any, term).from_sums(sums, pixels) for name, term in self.terms.items()}

    def _each(
        self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None, candidates: Tensor | None
    ) -> dict[str, Tensor]:
        values = {}
        for name, term in self.terms.items():
            if getattr(term, "uses_predicted_iou", False):
                several = (logits, target) if candidates is None else (candidates, target.expand_as(candidates))
                values[name] = term(*several, predicted_iou)
            else:
                values[name] = term(logits, target)
        return values

    @torch.no_grad()
    def _anatomy(self, logits: Tensor, target: Tensor, masks: Tensor) -> dict[str, Tensor]:
        inside = masks if masks.is_floating_point() else (masks != 0).float()
        figures = {"positive_pixels": inside.mean()}
        for name, term in self.terms.items():
            if hasattr(term, "anatomy"):
                figures |= {f"{name}_{part}": v for part, v in cast(Any, term).anatomy(logits, target).items()}
        return figures


def _has_one_pass(term: nn.Module) -> bool:
    """Whether a loss can be made from sums, and a subclass has not given it another `forward` since."""
    maker = next((kind for kind in type(term).__mro__ if "from_sums" in vars(kind)), None)
    return maker is not None and cast(Any, type(term)).forward is cast(Any, maker).forward


def _check_weight(weight: float) -> None:
    if not weight >= 0:
        raise ValueError(f"expected loss weights ≥ 0; got {weight}")
