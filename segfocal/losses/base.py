"""What every loss answers about itself, so that a weighted sum can hold any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from segfocal.losses.distributed import mean_count
from segfocal.losses.loss_schedules import FollowsTraining

Link = Literal["sigmoid", "softmax"]  # what makes probabilities of logits; see links.py


class PixelSums(NamedTuple):
    """Sums over the pixels of each sample and class, [b,k]; `fused.pixel_sums` takes all in one pass.

    Args:
        positive: Σ FL over the positives, FL the focal loss without α.
        negative: Σ FL over the negatives.
        both: Σ p·t.
        predicted: Σ p.
        target: Σ t.
        modulating: Σ (1 − p_t)^γ; this and the next two are None unless an anatomy is made, and have no gradient.
        hard_positive: Σ FL over the positives with p_t < .5.
        hard_negative: Σ FL over the negatives with p_t < .5.
    """

    positive: Tensor
    negative: Tensor
    both: Tensor
    predicted: Tensor
    target: Tensor
    modulating: Tensor | None = None
    hard_positive: Tensor | None = None
    hard_negative: Tensor | None = None


class Term(FollowsTraining):
    """A loss of logits and target. A subclass gives `forward`; the rest has an answer here that fits most losses.

    Attributes:
        link: "sigmoid" losses take logits and masks `[b,k,*space]` of independent structures; "softmax" losses take
            logits `[b,c,*space]` of classes that exclude each other, the background first, and class indices
            `[b,*space]`.
        reduction: "none" where the loss is a map, which cannot be summed with others; else it is one number.
        anatomy_names: what `anatomy` returns values for. A loss's anatomy is where it comes from: which pixels, which
            side.
        takes_probabilities: whether it is a loss of probabilities in place of logits.
        uses_predicted_iou: whether `forward` takes the IoU head's output [b,k] as third argument.
        uses_components: whether `forward` takes the cells of the target's components [b,k,*space] as third argument
            (see `component_sums`).
        soft_batch: whether that output is compared with one soft IoU of the whole batch, not with each mask's own.
        validate: whether it checks values too (see `input_checks`), which synchronises a GPU.
        awaits_rates: whether weights are missing that `use_rates` makes.
        least_count: what a sum is divided by at least, where it is divided by a `count`.
        step_count: the mean of the counts of all batches of a step, while a step of several is made
            (`WeightedSum.one_step`); None: a batch divides by its own.
    """

    link: Link = "sigmoid"
    reduction: str = "mean"
    anatomy_names: tuple[str, ...] = ()
    takes_probabilities: ClassVar[bool] = False
    uses_predicted_iou: bool = False
    uses_components: ClassVar[bool] = False
    soft_batch: bool = False
    least_count: ClassVar[float] = 1.0
    step_count: Tensor | None = None

    def __init__(self, *, validate: bool = False) -> None:
        super().__init__()
        self.validate = validate
        self.awaits_rates = False

    def use_rates(self, rates: Sequence[float]) -> None:
        """Make weights left to "inverse_frequency" from the share of pixels of the background and each structure."""

    def check_ready(self, classes: int) -> None:
        """Raise ValueError while weights that are to come from the training set are missing."""
        if self.awaits_rates:
            raise ValueError(
                "expected the pixel rates that inverse_frequency needs; got none: call use_rates with the share of "
                "pixels of the background and of each structure"
            )

    @property
    def spans_batch(self) -> bool:
        """Whether it is one quotient over a whole batch, which several smaller ones cannot make up."""
        return self.soft_batch

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return what `forward` divides its sum by, where that is not the number of all pixels; else None.

        Args:
            target: as of `forward`.
            classes: channels of the logits.
        """
        return None

    def count_of_components(self, target: Tensor, cells: Tensor) -> Tensor | None:
        """Return what `count` does, of a loss that uses components; cells: as of `forward`."""
        return None

    def divisor(self, count: Tensor) -> Tensor:
        """Return what to divide a sum by whose own count is `count`: that of the whole step."""
        if self.step_count is None:
            return mean_count(count, least=self.least_count)
        return self.step_count.to(count.dtype)

    @property
    def takes_sums(self) -> bool:
        """Whether `from_sums` gives what `forward` gives for a hard target (bool or integer)."""
        return False

    @property
    def gamma_of_sums(self) -> float | None:
        """The γ of the focal sums that `from_sums` reads; None where it reads none."""
        return None

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each; called where `takes_sums`."""
        raise NotImplementedError(f"expected a loss made of pixel sums; got {type(self).__name__}")

    def anatomy(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return where the loss comes from: a detached scalar for each of `anatomy_names`."""
        return {}

    def anatomy_from_sums(self, sums: PixelSums, pixels: int) -> dict[str, Tensor]:
        """Return what `anatomy` does, from the sums over maps of `pixels` pixels each; called where `takes_sums`."""
        return {}

    def value(self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None, candidates: Tensor | None) -> Tensor:
        """Return the loss of what a weighted sum was called with.

        Args:
            logits: `[b,k,*space]`, or `[b,c,*space]` for a softmax loss.
            target: masks `[b,k,*space]`, or class indices `[b,*space]` for a softmax loss.
            predicted_iou: [b,k], for the losses that use it; None from a network without an IoU head.
            candidates: logits [b,m,*space] of all masks that predicted_iou [b,m] is of, where a network answered with
                several and `logits` are one of them; None where `logits` are all.
        """
        if not self.uses_predicted_iou:
            return self(logits, target)
        several = (logits, target) if candidates is None else (candidates, target.expand_as(candidates))
        return self(*several, predicted_iou)


class OtherTerm(Term):
    """A loss that does not derive from Term, such as one of MONAI's: an nn.Module called with logits and target.

    It counts as a sigmoid loss that is one number, unless it has attributes `link`, `reduction`,
    `uses_predicted_iou` or `soft_batch` that say otherwise.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.link = getattr(loss, "link", self.link)
        self.reduction = getattr(loss, "reduction", self.reduction)
        self.uses_predicted_iou = getattr(loss, "uses_predicted_iou", self.uses_predicted_iou)
        self.soft_batch = getattr(loss, "soft_batch", self.soft_batch)

    def forward(self, *arguments: Tensor) -> Tensor:
        """Return what the loss returns."""
        return self.loss(*arguments)


def as_term(loss: nn.Module) -> Term:
    """Return a loss as it is where it is a Term, else wrapped as one."""
    return loss if isinstance(loss, Term) else OtherTerm(loss)
