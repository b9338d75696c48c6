"""The weighted sum of named loss terms, which also reports each term on its own.

    total = Σ weight · term

Training holds one `WeightedSum`. How the values of the terms are computed, in one pass over the pixels where they share
sums, through torch.compile where that works, is the business of `fused.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from segfocal.losses.base import Link, PixelSums, Term, as_term
from segfocal.losses.distributed import accumulating, step_count
from segfocal.losses.fused import Compile, TermValues
from segfocal.losses.hardness import sample_cross_entropy
from segfocal.losses.input_checks import check_pair
from segfocal.losses.links import class_indices, with_background
from segfocal.losses.loss_schedules import FollowsTraining, NumberOrSchedule


@dataclass(frozen=True, kw_only=True, eq=False)
class LossReport:
    """A loss to call backward on, and what it consists of.

    Args:
        total: the weighted sum, a scalar with a gradient.
        terms: each unweighted term by name, detached scalars.
        anatomy: where the loss comes from, detached scalars by name (`WeightedSum.anatomy_names`); {} if not asked for.
        hardness: how hard each sample [b] is, its mean cross-entropy; None if not asked for.
    """

    total: Tensor
    terms: dict[str, Tensor]
    anatomy: dict[str, Tensor] = field(default_factory=dict)
    hardness: Tensor | None = None

    @staticmethod
    def mean(reports: Sequence[LossReport]) -> LossReport:
        """Return the mean over reports with the same terms (the rounds of a promptable task)."""
        hardness = [report.hardness for report in reports if report.hardness is not None]
        return LossReport(
            total=torch.stack([report.total for report in reports]).mean(),
            terms=_mean([report.terms for report in reports]),
            anatomy=_mean([report.anatomy for report in reports]),
            hardness=torch.stack(hardness).mean(0) if hardness and len(hardness) == len(reports) else None,
        )


def _mean(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


class WeightedSum(FollowsTraining):
    """Σ weight · term over named losses.

    Args:
        terms: losses by name, all of one link; a `Term`, or any nn.Module called with logits and masks.
        weights: one factor ≥ 0 for each name; each may follow training (`segfocal.losses.loss_schedules`).
        compile: run the losses through torch.compile: True, False, or "auto", which does so for CUDA logits, where
            compiling pays for itself at once. A machine that cannot compile gets the eager form and one warning.
        anatomy: report where the loss comes from: the share of positive pixels, and for each focal term the mean
            modulating factor and the shares from hard pixels and from positives. Costs a little where the terms share
            a pass over the pixels, else one of its own, so False unless asked for (`conf/loss/sum.yaml` asks).

    Called with logits and masks `[b,k,*space]`, whatever the link: softmax terms get the logits with the background's
    fixed at 0, and class indices (`segfocal.losses.links`).

    Raises:
        ValueError: no terms, names that do not match, a negative weight, terms of both links; a term that needs the IoU
            head's output from a model that predicts none; whatever the terms raise.
    """

    def __init__(
        self,
        terms: Mapping[str, nn.Module],
        weights: Mapping[str, NumberOrSchedule],
        compile: Compile = "auto",
        anatomy: bool = False,
    ) -> None:
        super().__init__()
        if not terms or set(terms) != set(weights):
            raise ValueError(
                f"expected one weight for each loss term; got terms {sorted(terms)} and weights {sorted(weights)}: "
                "give loss.weights the same names as loss.terms"
            )
        self.terms = nn.ModuleDict(terms)  # as given: checkpoints hold their buffers under these names
        self._terms = {name: as_term(loss) for name, loss in terms.items()}
        self.link = _only_link(self._terms)
        self.weights = {name: self.follow(f"weights.{name}", weights[name], _check_weight) for name in terms}
        self._values = TermValues(self._terms, compile)
        self.reports_anatomy, self.reports_hardness = anatomy, False

    @property
    def uses_predicted_iou(self) -> bool:
        """Whether a term needs the IoU head's output."""
        return any(term.uses_predicted_iou for term in self._terms.values())

    @property
    def uses_components(self) -> bool:
        """Whether a term needs the cells of the target's components."""
        return any(term.uses_components for term in self._terms.values())

    @property
    def uses_soft_batch_iou(self) -> bool:
        """Whether a term compares the IoU head's output with one IoU of the whole batch."""
        return any(term.soft_batch for term in self._terms.values())

    @property
    def anatomy_names(self) -> list[str]:
        """The names of what the anatomy of a report holds: "positive_pixels", "focal_modulating", …"""
        if not self.reports_anatomy:
            return []
        return ["positive_pixels", *(f"{name}_{part}" for name, t in self._terms.items() for part in t.anatomy_names)]

    @property
    def followed(self) -> list[str]:
        """The names of the numbers that follow training: "weights.dice", "focal.gamma"."""
        return [*self.schedules, *(f"{name}.{key}" for name, term in self._terms.items() for key in term.schedules)]

    def at(self, progress: float) -> dict[str, float]:
        """Set every number that follows training to its value at `progress` in [0,1]; return them by name."""
        inner = {f"{name}.{key}": v for name, term in self._terms.items() for key, v in term.at(progress).items()}
        return super().at(progress) | inner

    def set_followed(self, name: str, value: float) -> None:
        """Take over the present value of a weight."""
        self.weights[name.removeprefix("weights.")] = value

    def use_rates(self, rates: Sequence[float]) -> None:
        """Give every term the share of pixels of the background and of each structure in the training set."""
        for term in self._terms.values():
            term.use_rates(rates)

    def check_values(self, wanted: bool) -> None:
        """Make every term check the values it is given, or stop doing so; this synchronises a GPU."""
        for term in self._terms.values():
            term.validate = wanted

    @property
    def spanning_batch(self) -> list[str]:
        """The names of the terms that are one quotient over a whole batch, not to be made up of several."""
        return [name for name, term in self._terms.items() if term.spans_batch]

    @contextmanager
    def one_step(self, targets: Sequence[Tensor], cells: Sequence[Tensor] = ()) -> Iterator[None]:
        """Make the losses of the batches of one step, whose mean is taken, that of one batch of all of them.

        Every term's count, such as of positive pixels, is taken over all `targets` first. Of one batch it is its own.
        Terms of `spanning_batch` stay those of each batch.

        Args:
            targets: masks [b,k,*space] of each batch, as they come to `forward`.
            cells: of their components, for the terms that use them.
        """
        if len(targets) < 2:
            yield
            return
        extra = 1 if self.link == "softmax" else 0
        known = [class_indices(target) for target in targets] if extra else targets
        classes = targets[0].shape[1] + extra
        for term in self._terms.values():
            if term.uses_components:
                found = [term.count_of_components(*pair) for pair in zip(known, cells, strict=True)]
            else:
                found = [term.count(target, classes) for target in known]
            counts = [count for count in found if count is not None]
            term.step_count = step_count(counts, least=term.least_count) if counts else None
        try:
            with accumulating(len(targets)):
                yield
        finally:
            for term in self._terms.values():
                term.step_count = None

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        predicted_iou: Tensor | None = None,
        candidates: Tensor | None = None,
        cells: Tensor | None = None,
    ) -> LossReport:
        """Return the total and every unweighted term.

        Args:
            logits: `[b,k,*space]`, one for each structure, whatever the link.
            target: masks of that shape: bool, integer (non-zero is inside) or float in [0,1].
            predicted_iou: [b,k], for the terms that use it; None from a network without an IoU head.
            candidates: logits [b,m,*space] of all masks that predicted_iou [b,m] is of, where a network answered with
                several and `logits` [b,1,*space] are one of them: the terms that use it see them instead.
            cells: integers [b,k,*space], the number of the component of the target that is nearest to each pixel, for
                the terms that use components.
        """
        if predicted_iou is None and self.uses_predicted_iou:
            raise ValueError(
                "expected a predicted IoU for the IoU-head term of the loss; got none: use a promptable task"
            )
        masks = target
        if self.link == "softmax":
            check_pair(logits, target, validate=self._values.checks_values)
            logits, target = with_background(logits), class_indices(target)
        values, sums = self._values(
            logits, target, predicted_iou, candidates, cells=cells, anatomy=self.reports_anatomy
        )
        return LossReport(
            total=torch.as_tensor(sum(self.weights[name] * value for name, value in values.items())),
            terms={name: value.detach() for name, value in values.items()},
            anatomy=self._anatomy(logits, target, masks, sums) if self.reports_anatomy else {},
            hardness=sample_cross_entropy(logits, target, self.link) if self.reports_hardness else None,
        )

    @torch.no_grad()
    def _anatomy(self, logits: Tensor, target: Tensor, masks: Tensor, sums: PixelSums | None) -> dict[str, Tensor]:
        if sums is None:
            inside = masks if masks.is_floating_point() else (masks != 0).float()
            found = {"positive_pixels": inside.mean()}
            parts = {name: term.anatomy(logits, target) for name, term in self._terms.items()}
        else:
            pixels = math.prod(logits.shape[2:])
            found = {"positive_pixels": sums.target.mean() / pixels}
            parts = {name: term.anatomy_from_sums(sums, pixels) for name, term in self._terms.items()}
        return found | {f"{name}_{part}": value for name, of in parts.items() for part, value in of.items()}


def _only_link(terms: Mapping[str, Term]) -> Link:
    """Return the link of all terms; ValueError for terms that cannot be summed."""
    maps = [name for name, term in terms.items() if term.reduction == "none"]
    if maps:
        raise ValueError(f"expected loss terms that are one number; got reduction none of {maps}: choose mean or sum")
    probabilities = [name for name, term in terms.items() if term.takes_probabilities]
    if probabilities:
        raise ValueError(
            f"expected losses of logits; {probabilities} take probabilities: use them in Python, or take the last "
            "sigmoid or softmax off the network and use focal or softmax_focal"
        )
    links = {name: term.link for name, term in terms.items()}
    if len(set(links.values())) > 1:
        raise ValueError(
            f"expected loss terms of one link; got {links}: choose the softmax or the sigmoid form of every term"
        )
    return next(iter(links.values()))


def _check_weight(weight: float) -> None:
    if not weight >= 0:
        raise ValueError(f"expected loss weights ≥ 0; got {weight}")
