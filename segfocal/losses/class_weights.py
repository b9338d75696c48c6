"""How losses weigh positives against negatives (`AlphaTerm`), or one class against another (`ClassTerm`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

from segfocal.losses.base import Term
from segfocal.losses.input_checks import check_pair
from segfocal.losses.loss_schedules import NumberOrSchedule

INVERSE_FREQUENCY = "inverse_frequency"  # in place of class weights: they are made from the training set's pixel rates

Alpha = NumberOrSchedule | Sequence[float] | Literal["inverse_frequency"] | None
ClassWeights = Sequence[float] | Tensor | Literal["inverse_frequency"] | None


class AlphaTerm(Term):
    """A loss that weighs positives by α and negatives by 1 − α: the two sides of every pixel's decision.

    Args:
        alpha: one number in [0,1], which may follow training; one for each channel k; None for weights 1 and 1; or
            "inverse_frequency", which waits for `use_rates`.
        validate: check values too, which synchronises a GPU.
    """

    alpha: Tensor | None

    def __init__(self, alpha: Alpha, *, validate: bool) -> None:
        super().__init__(validate=validate)
        self.awaits_rates = isinstance(alpha, str) and alpha == INVERSE_FREQUENCY
        self._one: float | None = None  # a single alpha as a number: arithmetic with it costs no small tensors
        self.register_buffer("alpha", None if self.awaits_rates else self._read(alpha), persistent=False)

    def _read(self, alpha: Any) -> Tensor | None:
        if alpha is None:
            return None
        if isinstance(alpha, str) or (isinstance(alpha, Sequence) and not len(alpha)):
            raise ValueError(
                f"expected alpha in [0,1], one for each channel, {INVERSE_FREQUENCY} or None; got {alpha!r}"
            )
        if isinstance(alpha, Tensor) and alpha.ndim == 0:
            alpha = alpha.item()
        if isinstance(alpha, Real | Mapping):
            start = alpha if isinstance(alpha, Mapping) else float(alpha)
            self._one = self.follow("alpha", start, check_alpha)
            return torch.tensor(self._one, dtype=torch.float64)
        for value in alpha:
            check_alpha(value)
        return torch.tensor([float(value) for value in alpha], dtype=torch.float64)

    def set_followed(self, name: str, value: float) -> None:
        """Take over the present value of option `name`."""
        if name == "alpha" and self.alpha is not None:
            self._one, self.alpha = value, torch.full_like(self.alpha, value)
        else:
            super().set_followed(name, value)

    def use_rates(self, rates: Sequence[float]) -> None:
        """Weigh both sides of each structure inversely to their share of pixels: α is 1 − its rate."""
        if self.awaits_rates:
            self.alpha = self._read([1 - rate for rate in list(rates)[1:]])
            self.awaits_rates = False

    def side_weights(self, maps: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return the weights of positives and negatives, to multiply with `maps` [b,k,*space] or [b,k]."""
        if self.alpha is None:
            return 1.0, 1.0
        if self._one is not None:
            return self._one, 1 - self._one
        alpha = self.alpha.to(maps.dtype).reshape(-1, *[1] * (maps.ndim - 2))
        return alpha, 1 - alpha

    def check(self, logits: Tensor, target: Tensor) -> None:
        """Raise ValueError for logits and target that do not fit each other or alpha."""
        check_pair(logits, target, validate=self.validate)
        self.check_ready(logits.shape[1])

    def check_ready(self, classes: int) -> None:
        """Raise ValueError unless alpha is one number or has one for each of so many channels."""
        super().check_ready(classes)
        _check_length(self.alpha, classes, "alpha")

    def alpha_repr(self) -> str:
        """Return alpha, for printing."""
        shown = INVERSE_FREQUENCY if self.awaits_rates else self.alpha if self.alpha is None else self.alpha.tolist()
        return f"alpha={shown}"


class ClassTerm(Term):
    """A softmax loss with one weight ≥ 0 for each class, the background first: a buffer that follows the module.

    Args:
        weights: [c], ≥ 0; None for ones; "inverse_frequency" waits for `use_rates`.
        name: what the option and the buffer are called; "alpha", as in the focal loss's paper, but where torch says
            "weight".
        validate: check values too; False, because it synchronises a GPU.
    """

    link = "softmax"

    def __init__(self, weights: ClassWeights, *, name: str = "alpha", validate: bool = False) -> None:
        super().__init__(validate=validate)
        self.awaits_rates = isinstance(weights, str) and weights == INVERSE_FREQUENCY
        self.register_buffer(name, None if self.awaits_rates else _vector(weights, name))
        self._name = name

    @property
    def class_weights(self) -> Tensor | None:
        """The weights [c], or None for ones."""
        return getattr(self, self._name)

    def use_rates(self, rates: Sequence[float]) -> None:
        """Weigh every class by the inverse of its rate, with mean one."""
        if self.awaits_rates:
            setattr(self, self._name, torch.tensor(inverse_frequency(rates), dtype=torch.float64))
            self.awaits_rates = False

    def check_ready(self, classes: int) -> None:
        """Raise ValueError unless there is a weight for each of so many classes, or none at all."""
        super().check_ready(classes)
        _check_length(self.class_weights, classes, self._name)

    def weights_repr(self) -> str:
        """Return the weights, for printing."""
        weights = self.class_weights
        shown = INVERSE_FREQUENCY if self.awaits_rates else weights if weights is None else weights.tolist()
        return f"{self._name}={shown}"


def _vector(weights: Any, name: str) -> Tensor | None:
    """Return class weights as a float64 vector."""
    if weights is None:
        return None
    try:
        vector = torch.as_tensor(weights if isinstance(weights, Tensor) else list(weights), dtype=torch.float64)
    except (TypeError, ValueError):
        vector = torch.empty(0)
    if vector.ndim != 1 or not len(vector) or not (vector >= 0).all():
        raise ValueError(f"expected one {name} ≥ 0 for each class, {INVERSE_FREQUENCY} or None; got {weights!r}")
    return vector


def _check_length(weights: Tensor | None, classes: int, name: str) -> None:
    if weights is not None and weights.ndim and len(weights) != classes:
        raise ValueError(f"expected one {name} for each of {classes} classes; got {len(weights)}")


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless the weight of the positives lies in [0,1]."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"expected alpha in [0,1] or None; got {alpha}")


def inverse_frequency(pixels: Sequence[float]) -> list[float]:
    """Return a weight for each class, inversely proportional to its pixel count (or rate), with mean one.

    Raises:
        ValueError: no class, or one that has no pixel.
    """
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    if not len(counts) or not (counts > 0).all():
        raise ValueError(f"expected a pixel count > 0 for each class; got {list(pixels)}")
    weights = 1 / counts
    return (weights / weights.mean()).tolist()
