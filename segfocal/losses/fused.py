"""How the terms of a sum are computed: where they share sums in one pass over the pixels each way, compiled if asked.

Focal needs Σ FL over positives and over negatives; Dice, IoU and Tversky need Σ p·t, Σ p and Σ t. `pixel_sums` takes
all together and saves nothing full-size but its inputs: the backward pass computes what it needs again, which costs
less than reading it would. Both passes are pure functions, which torch.compile turns into one loop each. `TermValues`
decides: this pass for a hard target where every term takes sums, else each term's own `forward`. Terms that use
components are left out of that choice: they run by themselves, as they are.

With s = x where the target is 1 and −x where it is 0, p_t = sigmoid(s) and CE = softplus(−s):

    FL = (1 − p_t)^γ · CE
    dFL/ds = −(1 − p_t)^γ · (γ·p_t·CE + 1 − p_t)

α is not in here: it weighs the two sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.errors import warn
from segfocal.losses.base import PixelSums, Term
from segfocal.losses.input_checks import check_pair, computed

Compile = Literal["auto"] | bool

_WHOLE_POWERS = range(5)  # exponents taken by multiplying

# Several sums of one long expression share one loop only if the compiler does not store that expression in between.
_ONE_LOOP = {"realize_opcount_threshold": 10_000, "realize_reads_threshold": 1_000}


class TermValues:
    """Computes the values of the terms of a sum, the quickest way there is.

    Args:
        terms: by name, all of one link.
        compile: through torch.compile: True, False, or "auto" for CUDA logits only.

    Raises:
        ValueError: another way to compile.
    """

    def __init__(self, terms: Mapping[str, Term], compile: Compile) -> None:
        if compile not in ("auto", True, False):
            raise ValueError(f"expected loss.compile auto, true or false; got {compile!r}")
        self.names, self.compile = list(terms), compile
        self.terms = {name: term for name, term in terms.items() if not term.uses_components}
        self.by_component = {name: term for name, term in terms.items() if term.uses_components}
        self._compiled: Callable[..., dict[str, Tensor]] | None = None

    @property
    def checks_values(self) -> bool:
        """Whether a term looks at the values it is given, which no compiler can make part of a loop."""
        return any(term.validate for term in (*self.terms.values(), *self.by_component.values()))

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        predicted_iou: Tensor | None,
        candidates: Tensor | None,
        *,
        cells: Tensor | None = None,
        anatomy: bool = False,
    ) -> tuple[dict[str, Tensor], PixelSums | None]:
        """Return each term's value by name, and the sums they were made of; None where they were not.

        cells: of the target's components. anatomy: take the sums too that tell where a loss comes from. The other
        arguments are those of `Term.value`.
        """
        values: dict[str, Tensor] = {name: term(logits, target, cells) for name, term in self.by_component.items()}
        sums: PixelSums | None = None
        if self.terms:
            plain, sums = self._without_components(logits, target, predicted_iou, candidates, anatomy=anatomy)
            values |= plain
        return {name: values[name] for name in self.names}, sums

    def _without_components(
        self,
        logits: Tensor,
        target: Tensor,
        predicted_iou: Tensor | None,
        candidates: Tensor | None,
        *,
        anatomy: bool,
    ) -> tuple[dict[str, Tensor], PixelSums | None]:
        compiled = logits.is_cuda if self.compile == "auto" else bool(self.compile)
        if share_one_pass(self.terms.values(), target):
            return self._in_one_pass(logits, target, compiled=compiled, anatomy=anatomy)
        if not compiled or self.checks_values or not compiles(logits.device.type):
            return self._one_by_one(logits, target, predicted_iou, candidates), None
        try:
            self._compiled = self._compiled or torch.compile(self._one_by_one)
            return self._compiled(logits, target, predicted_iou, candidates), None
        except (ValueError, torch.OutOfMemoryError):  # of a term, which the eager form would raise too
            raise
        except Exception as error:  # the compiler's errors share no base class with each other
            cannot_compile(logits.device.type, error)
            return self._one_by_one(logits, target, predicted_iou, candidates), None

    def _in_one_pass(
        self, logits: Tensor, target: Tensor, *, compiled: bool, anatomy: bool
    ) -> tuple[dict[str, Tensor], PixelSums]:
        check_pair(logits, target, validate=self.checks_values)
        for term in self.terms.values():
            term.check_ready(logits.shape[1])
        gamma = next(iter(_gammas(self.terms.values())), None)
        with torch.autocast(logits.device.type, enabled=False):
            sums = pixel_sums(logits, target, gamma=gamma, compiled=compiled, anatomy=anatomy)
            pixels = math.prod(logits.shape[2:])
            return {name: term.from_sums(sums, pixels) for name, term in self.terms.items()}, sums

    def _one_by_one(
        self, logits: Tensor, target: Tensor, predicted_iou: Tensor | None, candidates: Tensor | None
    ) -> dict[str, Tensor]:
        return {name: term.value(logits, target, predicted_iou, candidates) for name, term in self.terms.items()}


def share_one_pass(terms: Collection[Term], target: Tensor) -> bool:
    """Return whether one pass over the pixels serves all terms: a hard target, terms that take sums, one γ."""
    hard = not target.is_floating_point()
    return hard and all(term.takes_sums for term in terms) and len(_gammas(terms)) <= 1


def _gammas(terms: Collection[Term]) -> set[float]:
    return {term.gamma_of_sums for term in terms if term.gamma_of_sums is not None}


def pixel_sums(
    logits: Tensor, target: Tensor, *, gamma: float | None, compiled: bool = False, anatomy: bool = False
) -> PixelSums:
    """Return the sums in float32 (float64 stays), differentiable in the logits.

    Args:
        logits: `[b,k,*space]`, of any floating-point dtype.
        target: bool or integer of that shape, non-zero inside.
        gamma: focusing exponent ≥ 0; None leaves the focal sums 0, for sums without a focal term.
        compiled: run both passes through torch.compile. False, because compiling takes seconds; a machine that cannot
            compile runs them as they are, after one warning.
        anatomy: take the sums too that tell where a focal loss comes from. False, because they take time.
    """
    return PixelSums(*_Sums.apply(logits, target, gamma, compiled, anatomy))


class _Sums(torch.autograd.Function):
    """The sums of [b,k,*space] as five tensors [b,k], of an anatomy eight."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, gamma: float | None, compiled: bool, anatomy: bool
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, target)
        ctx.gamma, ctx.compiled = gamma, compiled
        sums = _run(_forward, compiled, _flat(x), _flat(target), gamma, _whole(gamma), anatomy)
        ctx.mark_non_differentiable(*sums[4:])
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, target = ctx.saved_tensors
        columns = [gradient.unsqueeze(2) for gradient in gradients[:4]]
        gradient = _run(_backward, ctx.compiled, _flat(x), _flat(target), ctx.gamma, _whole(ctx.gamma), *columns)
        return gradient.view_as(x), None, None, None, None


def _forward(x: Tensor, target: Tensor, gamma: float | None, power: int | None, anatomy: bool) -> tuple[Tensor, ...]:
    t, s = _oriented(x, target)
    not_p_t, p_t, ce = _parts(s)
    p = torch.lerp(not_p_t, p_t, t)  # either, exactly; quicker than where
    region = torch.linalg.vecdot(p, t), p.sum(2), t.sum(2)
    if gamma is None:
        return torch.zeros_like(region[0]), torch.zeros_like(region[0]), *region
    modulating = _modulating(not_p_t, ce, s, gamma, power)
    focal = modulating * ce
    sides = _by_side(focal, t)
    if not anatomy:
        return *sides, *region
    factors = modulating if isinstance(modulating, Tensor) else torch.full_like(focal, modulating)
    return *sides, *region, factors.sum(2), *_by_side(focal * (s < 0), t)


def _by_side(losses: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of losses over positives and over negatives."""
    positive = torch.linalg.vecdot(losses, t)
    return positive, losses.sum(2) - positive


def _backward(
    x: Tensor,
    target: Tensor,
    gamma: float | None,
    power: int | None,
    of_positive: Tensor,
    of_negative: Tensor,
    of_both: Tensor,
    of_predicted: Tensor,
) -> Tensor:
    t, s = _oriented(x, target)
    not_p_t, p_t, ce = _parts(s)
    gradient = torch.addcmul(of_predicted, of_both, t) * (not_p_t * p_t)
    if gamma is not None:
        slope = (gamma * (p_t * ce) + not_p_t) * _modulating(not_p_t, ce, s, gamma, power)
        gradient = torch.addcmul(gradient, slope, torch.addcmul(of_negative, of_positive + of_negative, t, value=-1))
    return gradient.to(x.dtype)


def _oriented(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask as zeros and ones, and s: multiplying by it vectorises on a CPU, selecting by it does not."""
    x = computed(x)
    if target.dtype == torch.uint8:
        t = target.to(x.dtype).clamp_(max=1)
    else:
        t = target.to(x.dtype) if target.dtype == torch.bool else (target != 0).to(x.dtype)
    return t, torch.addcmul(-x, x, t, value=2)


def _parts(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return 1 − p_t, p_t and CE of margins s, each accurate relative to itself: no difference of rounded numbers."""
    if not torch.compiler.is_compiling():
        return torch.sigmoid(-s), torch.sigmoid(s), F.logsigmoid(s).neg_()
    small = torch.exp(-s.abs())  # one exp, one log and one division serve all three
    near = 1 / (1 + small)
    far = small * near
    return torch.where(s >= 0, far, near), torch.where(s >= 0, near, far), (-s).clamp(min=0) + _log1p(small)


def _log1p(y: Tensor) -> Tensor:
    """Return log(1 + y) for y in [0,1]; in float32 to 3e-7 of itself, at half the price of the library's.

    The series 2·(z + z³/3 + z⁵/5 + …) of log((1+z)/(1−z)) with z = y/(2+y) ≤ 1/3: seven terms leave 2e-8.
    """
    if y.dtype == torch.float64:
        return torch.log1p(y)
    z = y / (2 + y)
    square = z * z
    series = square * (2 / 13) + 2 / 11
    for divisor in (9, 7, 5, 3, 1):
        series = series * square + 2 / divisor
    return series * z


def _modulating(not_p_t: Tensor, ce: Tensor, s: Tensor, gamma: float, power: int | None) -> Tensor | float:
    """Return (1 − p_t)^γ: by multiplying for a small whole γ, else as exp(−γ·softplus(s)), softplus(s) = CE + s."""
    if power is None:
        return torch.exp(-gamma * (ce + s))
    return not_p_t**power if power else 1.0


def _whole(gamma: float | None) -> int | None:
    return int(gamma) if gamma is not None and gamma in _WHOLE_POWERS else None


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(2) if tensor.ndim > 2 else tensor.unsqueeze(2)


kinds_that_cannot_compile: set[str] = set()  # kinds of device, "cpu" or "cuda", where torch.compile has failed


def _run(function: Callable[..., Any], compiled: bool, x: Tensor, *rest: Any) -> Any:
    """Call `function`, compiled if asked and possible; where torch.compile fails, say so once and never try again."""
    kind = x.device.type
    if not compiled or not compiles(kind):
        return function(x, *rest)
    try:
        return compiled_form(function)(x, *rest)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler's errors share no base class with each other
        cannot_compile(kind, error)
        return function(x, *rest)


def cannot_compile(kind: str, error: Exception) -> None:
    """Remember that torch.compile fails on this kind of device, and warn."""
    kinds_that_cannot_compile.add(kind)
    warn(
        f"losses run uncompiled on {kind}: {type(error).__name__} from torch.compile; loss.compile=false silences this",
        stacklevel=2,
    )


def compiles(kind: str) -> bool:
    """Return whether torch.compile has not failed on this kind of device yet."""
    return kind not in kinds_that_cannot_compile


@cache
def compiled_form(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pass over the pixels as torch.compile makes it, one loop; compiled at its first call."""
    return torch.compile(function, options=dict(_ONE_LOOP))
