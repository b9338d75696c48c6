"""The safety law: for any γ, logit, target and precision, loss and gradient are finite and right to within rounding.

The closed forms below are float64 and written from the formulas, at the logit as rounded to the precision: what is
judged is the arithmetic after that.
"""

import itertools

import pytest
import torch
from torch.nn.functional import one_hot

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoULoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    TverskyLoss,
    WeightedSum,
)
from segfocal.losses.fused import share_one_pass

GAMMAS = (0, 0.5, 1, 1.5, 2, 5)
LOGITS = [sign * size for size in (0, 4, 8.5, 12, 17, 20, 30, 60, 100, 1e4) for sign in (1, -1)]
ALPHAS = [None, 0.25, [0.1, 0.8]]  # of two channels

# Losses are float32. An exponential turns the rounding of its exponent into a relative error, and exponents go down to
# −87 before it is 0: a few roundings of 2⁻²⁴·87 = 5e-6. Below 1e-30 that underflow may have begun.
RELATIVE, UNDERFLOW = 2e-5, 1e-30


@pytest.fixture(params=["float32", "bfloat16", "float16", "float32 under autocast"])
def dtype(request):
    """The dtype of the logits; in the last case everything runs under bfloat16 autocast."""
    name, *autocast = request.param.split(" under ")
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(autocast)):
        yield getattr(torch, name)


def every_pair(dtype, targets=(0, 1)):
    """Return two channels of every logit against every target, [n,2], and what the logits are once rounded."""
    x = torch.tensor(LOGITS, dtype=dtype).repeat(len(targets))[:, None].repeat(1, 2)
    t = torch.tensor(targets).repeat_interleave(len(LOGITS))[:, None].repeat(1, 2)
    return x.requires_grad_(), t, x.detach().double()


def of_margin(s, gamma):
    """Return (1 − p_t)^γ·CE for p_t = sigmoid(s), CE = softplus(−s), and its derivative by s."""
    ce = torch.log1p(torch.exp(-s.abs())) + (-s).clamp(min=0)
    p_t, not_p_t = torch.sigmoid(s), torch.sigmoid(-s)
    return not_p_t**gamma * ce, -(not_p_t**gamma) * (gamma * p_t * ce + not_p_t)


def binary(x, t, gamma, alpha):
    """Return α·t·FL(x) + (1 − α)·(1 − t)·FL(−x) and its derivative by x; no α is 1 for both sides."""
    on_positives, on_negatives = (1, 1) if alpha is None else (torch.tensor(alpha), 1 - torch.tensor(alpha).double())
    (value_1, slope_1), (value_0, slope_0) = of_margin(x, gamma), of_margin(-x, gamma)
    value = on_positives * t * value_1 + on_negatives * (1 - t) * value_0
    return value, on_positives * t * slope_1 - on_negatives * (1 - t) * slope_0


def softmax(x, index, gamma, alpha):
    """Return −α_t·(1 − p_t)^γ·log p_t [n] of logits [n,c], and its derivative by x.

    1 − p_t is the sum of the others. The gradient at class j is −dFL/dm·q_j, q the softmax over the others, and dFL/dm
    at class t, with m the margin of class t over the others.
    """
    at = one_hot(index, x.shape[1]).bool()
    p = torch.exp(x - x.logsumexp(1, keepdim=True))
    not_p_t = p.masked_fill(at, 0).sum(1)
    log_p_t = torch.where(not_p_t < 0.5, torch.log1p(-not_p_t.clamp(max=0.5)), x.log_softmax(1)[at])
    weight = 1 if alpha is None else torch.tensor(alpha, dtype=torch.float64)[index]
    by_margin = not_p_t**gamma * (gamma * (1 - not_p_t) * log_p_t - not_p_t) * weight
    among_others = x.masked_fill(at, -torch.inf).softmax(1)
    return -weight * not_p_t**gamma * log_p_t, by_margin[:, None] * torch.where(at, 1.0, -among_others)


def assert_safe(losses, x, value, slope, *, absolute=UNDERFLOW):
    """Assert that losses and their gradient by x are finite and within rounding of the closed form."""
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()
    assert losses.dtype == torch.float32
    assert gradient.dtype == x.dtype
    torch.testing.assert_close(losses.detach().double(), value, rtol=RELATIVE, atol=absolute)
    # The gradient goes back in the logits' dtype: half a step more, and half the smallest step of float16 near zero.
    info = torch.finfo(x.dtype)
    smallest = max(absolute, info.smallest_normal * info.eps / 2 * (1 + RELATIVE))
    torch.testing.assert_close(gradient.double(), slope, rtol=RELATIVE + info.eps / 2, atol=smallest)


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
def test_focal_of_a_hard_target_is_safe(alpha, dtype):
    x, t, exact = every_pair(dtype)
    for gamma, kind in itertools.product(GAMMAS, [torch.bool, torch.uint8, torch.float32]):
        losses = FocalLoss(gamma, alpha, reduction="none")(x, t.to(kind))
        assert_safe(losses, x, *binary(exact, t, gamma, alpha))


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
def test_focal_of_a_soft_target_is_safe(alpha, dtype):
    x, t, exact = every_pair(dtype, targets=(0.125, 0.5, 0.75))  # none rounded in a half type
    for gamma in GAMMAS:
        losses = FocalLoss(gamma, alpha, reduction="none")(x, t.to(dtype))
        assert_safe(losses, x, *binary(exact, t.double(), gamma, alpha))


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
def test_focal_in_one_pass_is_safe(alpha, dtype, form):
    x, t, exact = every_pair(dtype)
    for gamma in GAMMAS:
        criterion = WeightedSum({"focal": FocalLoss(gamma, alpha, reduction="sum")}, {"focal": 1.0})
        assert share_one_pass(criterion.terms.values(), t)
        losses = [criterion(x[i : i + 1], t[i : i + 1]).total for i in range(len(x))]
        value, slope = binary(exact, t, gamma, alpha)
        assert_safe(torch.stack(losses), x, value.sum(1), slope)


@pytest.mark.parametrize("alpha", ALPHAS, ids=str)
def test_cross_entropy_is_safe(alpha, dtype):
    for targets, kind in [((0, 1), torch.bool), ((0, 1), torch.float32), ((0.125, 0.5, 0.75), torch.float32)]:
        x, t, exact = every_pair(dtype, targets)
        losses = CrossEntropyLoss(alpha, reduction="none")(x, t.to(kind))
        assert_safe(losses, x, *binary(exact, t.double(), 0, alpha))


def every_class(classes, dtype):
    """Return logits [n,c] that hold every logit against every other (or many of them), and each class as the target."""
    if classes <= 3:  # with one logit at 0 only differences are lost
        rows = torch.cartesian_prod(*[torch.tensor(LOGITS)] * (classes - 1)).reshape(-1, classes - 1)
        rows = torch.cat([torch.zeros(len(rows), 1), rows], dim=1)
    else:
        generator = torch.Generator().manual_seed(0)
        rows = torch.tensor(LOGITS)[torch.randint(len(LOGITS), (200, classes), generator=generator)]
    x = rows.to(dtype).repeat(classes, 1)
    return x.requires_grad_(), torch.arange(classes).repeat_interleave(len(rows)), x.detach().double()


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_softmax_focal_is_safe(classes, weighted, dtype):
    x, index, exact = every_class(classes, dtype)
    alpha = [0.5 + j for j in range(classes)] if weighted else None
    for gamma in GAMMAS:
        losses = SoftmaxFocalLoss(gamma, alpha, reduction="none")(x, index)
        assert_safe(losses, x, *softmax(exact, index, gamma, alpha))


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_softmax_cross_entropy_is_safe(classes, weighted, dtype):
    x, index, exact = every_class(classes, dtype)
    weight = [0.5 + j for j in range(classes)] if weighted else None
    for target in (index, one_hot(index, classes).to(dtype)):
        losses = SoftmaxCrossEntropyLoss(weight, reduction="none")(x, target)
        # It promises torch's own, which rounds the sum of exponentials and p_t near one: 2⁻²⁴ each, times the weight.
        absolute = 2**-23 * (1 if weight is None else weight[-1])
        assert_safe(losses, x, *softmax(exact, index, 0, weight), absolute=absolute)


def generalised(pt, p, t):
    """Return generalised Dice of sums [b,c] over classes that share out every pixel; one without a pixel weighs 1."""
    smallest = torch.where(t > 0, t, torch.inf).amin(-1, keepdim=True)
    weight = torch.where(t > 0, (smallest / t) ** 2, 1)
    return 1 - (2 * (weight * pt).sum(-1) + 1) / ((weight * (p + t)).sum(-1) + 1)


FORMULAS = {
    DiceLoss: lambda pt, p, t: 1 - (2 * pt + 1) / (p + t + 1),
    IoULoss: lambda pt, p, t: 1 - (pt + 1) / (p + t - pt + 1),
    TverskyLoss: lambda pt, p, t: 1 - (pt + 1) / (pt + 0.3 * (p - pt) + 0.7 * (t - pt) + 1),
    GeneralisedDiceLoss: generalised,
}


def maps(dtype):
    """Yield link, logits and target of one-pixel maps of every logit, and of maps that hold all of them."""
    x, t, _ = every_pair(dtype)
    yield "sigmoid", x.detach()[:, :1, None], t[:, :1, None]
    number = torch.arange(len(LOGITS))
    some = torch.stack([0 * number, 0 * number + 1, number % 2, number % 3 // 2])  # none, all, a half, a third
    yield "sigmoid", torch.tensor(LOGITS, dtype=dtype).repeat(4, 1).unsqueeze(1), some.unsqueeze(1)
    x, index, _ = every_class(3, dtype)
    yield "softmax", x.detach().unsqueeze(2), index.unsqueeze(1)
    yield "softmax", x.detach().T.unsqueeze(0), index.unsqueeze(0)


def shares(x, t, kind):
    """Return probabilities and truth [b,c,pixels] of the classes a loss of this kind sums over."""
    if t.shape == x.shape:
        p, truth = torch.sigmoid(x), t
        return (torch.cat([p, 1 - p], 1), torch.cat([t, 1 - t], 1)) if kind is GeneralisedDiceLoss else (p, truth)
    p, truth = x.softmax(1), one_hot(t, x.shape[1]).movedim(-1, 1)
    return (p, truth) if kind is GeneralisedDiceLoss else (p[:, 1:], truth[:, 1:])


@pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)
def test_losses_of_soft_counts_are_safe_alone_and_in_one_pass(kind, dtype, form):
    for (link, x, t), batch in itertools.product(maps(dtype), [False, True]):
        exact = x.double().requires_grad_()
        (p, truth), axes = shares(exact, t, kind), [0, 2] if batch else [2]
        value = FORMULAS[kind]((p * truth).sum(axes), p.sum(axes), truth.sum(axes)).mean()
        (slope,) = torch.autograd.grad(value, exact)
        term = kind(link=link, batch=batch)
        total = WeightedSum({"term": term}, {"term": 1.0})
        for loss in [term, lambda x, t, total=total: total(x, t).total] if link == "sigmoid" else [term]:
            result = loss(x.requires_grad_(), t)
            (gradient,) = torch.autograd.grad(result, x)
            assert torch.isfinite(result)
            assert torch.isfinite(gradient).all()
            # One minus a quotient near one, and p·(1 − p) of a rounded p: a few times 2⁻²⁴ of one.
            assert result.item() == pytest.approx(value.item(), abs=5e-7)
            torch.testing.assert_close(gradient.double(), slope, rtol=torch.finfo(dtype).eps + 1e-5, atol=5e-7)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *[(kind, {"empty": "skip"}) for kind in FORMULAS],
        *[(kind, {"empty": "include"}) for kind in FORMULAS if kind is not GeneralisedDiceLoss],
        *[(TverskyLoss, {"exponent": power, "smooth": smooth}) for power in (0.75, 0.1) for smooth in (1, 1e-5)],
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_no_option_makes_a_loss_of_soft_counts_infinite(kind, options, dtype):
    for (link, x, t), batch in itertools.product(maps(dtype), [False, True]):
        loss = kind(**options, link=link, batch=batch)(x.requires_grad_(), t)
        (gradient,) = torch.autograd.grad(loss, x)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


NOTHING_COUNTS = {
    "softmax focal, ignored": (SoftmaxFocalLoss(ignore_index=0), 0),
    "softmax focal, weight 0": (SoftmaxFocalLoss(alpha=[0.0, 1.0, 1.0]), 0),
    "softmax focal, weight 0, ignored": (SoftmaxFocalLoss(alpha=[0.0, 0.0, 0.0], ignore_index=1), 1),
    "softmax cross-entropy, ignored": (SoftmaxCrossEntropyLoss(ignore_index=0), 0),
    "softmax cross-entropy, weight 0": (SoftmaxCrossEntropyLoss(weight=[0.0, 1.0, 1.0]), 0),
    "softmax dice, skip": (DiceLoss(empty="skip", link="softmax"), 0),
    "softmax iou, skip": (IoULoss(empty="skip", link="softmax"), 0),
    "softmax tversky, skip, batch": (TverskyLoss(empty="skip", link="softmax", batch=True, exponent=0.75), 0),
    "focal, weight 0": (FocalLoss(alpha=1.0), "empty"),
    "focal, positives, weight 0": (FocalLoss(alpha=1.0, reduction="positives"), "empty"),
    "cross-entropy, weight 0": (CrossEntropyLoss(alpha=1.0), "empty"),
    "dice, skip": (DiceLoss(empty="skip"), "empty"),
}


@pytest.mark.parametrize("name", NOTHING_COUNTS)
def test_a_batch_in_which_nothing_counts_costs_nothing_and_moves_nothing(name, dtype):
    loss, target = NOTHING_COUNTS[name]
    x = (torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 20).to(dtype).requires_grad_()
    where = torch.zeros(2, 3, 4, 5, dtype=torch.bool) if target == "empty" else torch.full((2, 4, 5), target)
    value = loss(x, where)
    assert value.item() == 0
    assert (torch.autograd.grad(value, x)[0] == 0).all()
