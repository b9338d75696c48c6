"""What holds for all inputs: gradients, what each loss equals, and what does not change it. All in float64.

Tolerances: both sides of an equation differ by the order of a few sums and products, 1e-12 relative at most; the
absolute 1e-14 is for what cancels to nothing.
"""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import segfocal.losses
from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoUHeadLoss,
    IoULoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    TverskyLoss,
    WeightedSum,
)
from segfocal.losses.base import Term
from segfocal.losses.links import class_indices, margins, with_background
from tests.losses.pairs import (
    EVERY,
    channels,
    classes,
    masks,
    predictions,
    sigmoid_outputs,
    soft_classes,
    soft_masks,
    softmax_outputs,
)

CLOSE = {"rtol": 1e-12, "atol": 1e-14}
seeds = st.integers(0, 9999)
gammas = st.floats(0, 6)
rates = st.floats(0, 1)
spaces = st.lists(st.integers(1, 5), min_size=0, max_size=3)
every_loss = pytest.mark.parametrize("name", EVERY)
law = settings(max_examples=30, deadline=None)


def drawn(name, *space, seed=0):
    """Return a loss and its arguments for maps of this size."""
    loss, draw = EVERY[name]
    return loss, draw(2, channels(draw), *space, seed=seed)


def test_every_loss_there_is_stands_under_these_laws():
    exported = [getattr(segfocal.losses, name) for name in segfocal.losses.__all__]
    kinds = {kind for kind in exported if inspect.isclass(kind) and issubclass(kind, Term)}
    assert kinds == {type(loss) for loss, _ in EVERY.values() if isinstance(loss, Term)}


# Gradients


@every_loss
def test_gradients_pass_gradcheck(name):
    loss, (x, target, *guess) = drawn(name, 1, 3)
    inputs = [tensor.requires_grad_() for tensor in (x, *guess)]
    assert torch.autograd.gradcheck(lambda y, *rest: loss(y, target, *rest), inputs)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_gradients_of_a_map_pass_gradcheck(gamma):
    for loss, (x, t) in [
        (FocalLoss(gamma, reduction="none"), masks(2, 2, 3)),
        (FocalLoss(gamma, reduction="none"), soft_masks(2, 2, 3)),
        (SoftmaxFocalLoss(gamma, reduction="none"), classes(2, 3, 3)),
        (SoftmaxFocalLoss(gamma, [1, 2, 3], ignore_index=0, reduction="none"), classes(2, 3, 3)),
        (SigmoidProbabilityFocalLoss(gamma, reduction="none"), sigmoid_outputs(2, 2, 3)),
        (SoftmaxProbabilityFocalLoss(gamma, reduction="none"), softmax_outputs(2, 3, 3)),
    ]:
        assert torch.autograd.gradcheck(lambda y, loss=loss, t=t: loss(y, t), x.requires_grad_())


def test_the_iou_head_learns_through_its_guess_and_only_the_soft_form_moves_the_mask():
    for soft_batch in (False, True):
        x, t, guess = predictions(2, 2, 3, 4)
        IoUHeadLoss(soft_batch)(x.requires_grad_(), t, guess.requires_grad_()).backward()
        assert (guess.grad != 0).all()
        assert (x.grad is not None) is soft_batch


# What a loss equals


@given(seed=seeds, space=spaces, alpha=st.floats(0, 0.99))
@law
def test_binary_focal_with_gamma_zero_is_torch_s_cross_entropy(seed, space, alpha):
    x, t = masks(2, 3, *space, seed=seed)
    plain = F.binary_cross_entropy_with_logits(x, t.double())
    # torch weighs positives against negatives: α/(1 − α) to 1, which is α to 1 − α but for a factor.
    pos_weight = torch.tensor(alpha / (1 - alpha), dtype=torch.float64)
    balanced = (1 - alpha) * F.binary_cross_entropy_with_logits(x, t.double(), pos_weight=pos_weight)
    for kind in (CrossEntropyLoss, lambda alpha: FocalLoss(0, alpha)):
        torch.testing.assert_close(kind(alpha=None)(x, t), plain, **CLOSE)
        torch.testing.assert_close(kind(alpha=alpha)(x, t), balanced, **CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("alpha", [None, 0.1, 0.9, [0.2, 0.7]])
def test_cross_entropy_is_focal_with_gamma_zero(alpha, reduction):
    for x, t in (masks(3, 2, 5, 4), soft_masks(3, 2, 5, 4)):
        expected = FocalLoss(0, alpha, reduction)(x, t)
        torch.testing.assert_close(CrossEntropyLoss(alpha, reduction)(x, t), expected, **CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@given(seed=seeds, space=spaces)
@law
def test_softmax_focal_with_gamma_zero_is_torch_s_cross_entropy(reduction, seed, space):
    x, t = classes(2, 4, *space, seed=seed)
    expected = F.cross_entropy(x, t, reduction=reduction)
    torch.testing.assert_close(SoftmaxFocalLoss(0, reduction=reduction)(x, t), expected, **CLOSE)


@given(seed=seeds, weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4))
@law
def test_softmax_focal_with_gamma_zero_is_torch_s_weighted_cross_entropy_but_for_what_its_mean_divides_by(
    seed, weights
):
    x, t = classes(2, 4, 3, 5, seed=seed)
    weight = torch.tensor(weights, dtype=torch.float64)
    ours = {reduction: SoftmaxFocalLoss(0, weights, reduction=reduction)(x, t) for reduction in ("sum", "none", "mean")}
    for reduction in ("sum", "none"):
        torch.testing.assert_close(ours[reduction], F.cross_entropy(x, t, weight, reduction=reduction), **CLOSE)
    # Ours divides by the number of pixels, torch by the sum of their weights.
    torch.testing.assert_close(ours["mean"] * t.numel(), F.cross_entropy(x, t, weight) * weight[t].sum(), **CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_softmax_cross_entropy_is_torch_s_weighted_ignoring_and_soft(reduction):
    x, t = classes(3, 4, 6, 5)
    weight = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
    ours = SoftmaxCrossEntropyLoss(weight=weight.tolist(), ignore_index=2, reduction=reduction)
    torch.testing.assert_close(ours(x, t), F.cross_entropy(x, t, weight, ignore_index=2, reduction=reduction), **CLOSE)
    torch.testing.assert_close(ours(x, t.to(torch.uint8)), ours(x, t), **CLOSE)
    x, soft = soft_classes(3, 4, 6, 5)
    ours = SoftmaxCrossEntropyLoss(weight=weight.tolist(), reduction=reduction)
    torch.testing.assert_close(ours(x, soft), F.cross_entropy(x, soft, weight, reduction=reduction), **CLOSE)
    assert ours(x.half(), t).dtype == torch.float32


@given(seed=seeds, gamma=gammas, alpha=rates, space=spaces)
@law
def test_binary_focal_is_two_class_softmax_focal_of_zero_and_the_logit(seed, gamma, alpha, space):
    x, t = masks(2, 1, *space, seed=seed)
    two = SoftmaxFocalLoss(gamma, alpha=[1 - alpha, alpha])(torch.cat([torch.zeros_like(x), x], 1), t[:, 0].long())
    torch.testing.assert_close(FocalLoss(gamma, alpha)(x, t), two, **CLOSE)


@given(seed=seeds, gamma=gammas, alpha=rates)
@law
def test_focal_treats_both_sides_alike(seed, gamma, alpha):
    x, t = soft_masks(2, 2, 3, 4, seed=seed)
    torch.testing.assert_close(FocalLoss(gamma, alpha)(x, t), FocalLoss(gamma, 1 - alpha)(-x, 1 - t), **CLOSE)


@given(seed=seeds, gamma=gammas, more=st.floats(0, 3))
@law
def test_focal_lies_between_nothing_and_cross_entropy_and_falls_as_gamma_grows(seed, gamma, more):
    x, t = masks(2, 2, 3, 4, seed=seed)
    of = {g: FocalLoss(g, alpha=None, reduction="none")(x, t) for g in (0, gamma, gamma + more)}
    assert (of[gamma + more] >= 0).all()
    assert (of[gamma + more] <= of[gamma] * (1 + 1e-12)).all()
    assert (of[gamma] <= of[0] * (1 + 1e-12)).all()


@given(seed=seeds, gamma=gammas, soft=rates)
@law
def test_a_soft_target_costs_the_mixture_of_both_hard_ones(seed, gamma, soft):
    x, _ = masks(2, 2, 3, 4, seed=seed)
    ones, zeros = torch.ones_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
    for loss in (FocalLoss(gamma), FocalLoss(gamma, [0.1, 0.8]), CrossEntropyLoss(0.25)):
        mixture = soft * loss(x, ones) + (1 - soft) * loss(x, zeros)
        torch.testing.assert_close(loss(x, torch.full_like(x, soft)), mixture, **CLOSE)


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal_on_probabilities_is_focal_on_logits_away_from_saturation(guard, gamma, reduction):
    x, t = masks(3, 2, 5, 4)
    options = {"gamma": gamma, "epsilon": 1e-9, "guard": guard, "reduction": reduction}
    close = {"rtol": 1e-5, "atol": 1e-9}  # epsilon shifts log p by at most 1e-9 / p, and p is above 1e-3 here
    for alpha in (None, 0.25, [0.2, 0.9]):
        ours = SigmoidProbabilityFocalLoss(alpha=alpha, **options)(torch.sigmoid(x), t)
        torch.testing.assert_close(ours, FocalLoss(gamma, alpha, reduction)(x, t), **close)
    x, index = classes(2, 4, 6, 5)
    for alpha in (None, [0.5, 1.0, 2.0, 4.0]):
        ours = SoftmaxProbabilityFocalLoss(alpha=alpha, **options)
        expected = SoftmaxFocalLoss(gamma, alpha, reduction=reduction)(x, index)
        torch.testing.assert_close(ours(x.softmax(1), F.one_hot(index, 4).movedim(-1, 1)), expected, **close)
        torch.testing.assert_close(ours(x.softmax(1), index), expected, **close)


@given(seed=seeds)
@law
def test_the_soft_iou_head_is_asked_for_one_iou_of_the_whole_batch(seed):
    x, t, guess = predictions(3, 2, 4, 5, seed=seed)
    p = torch.sigmoid(x)
    iou = (p * t).sum() / (p + t - p * t).sum()
    expected = (guess - iou).square().mean()
    # SAM-Med2D adds 1e-7 above and below
    torch.testing.assert_close(IoUHeadLoss(soft_batch=True)(x, t, guess), expected, rtol=1e-6, atol=1e-9)


@given(seed=seeds, factor=st.floats(0.01, 100))
@law
def test_the_hard_iou_head_sees_only_the_sign_of_logits(seed, factor):
    x, t, guess = predictions(3, 2, 4, 5, seed=seed)
    torch.testing.assert_close(IoUHeadLoss()(x * factor, t, guess), IoUHeadLoss()(x, t, guess), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss])
def test_per_sample_overlap_is_the_mean_over_samples_and_batch_overlap_is_one_long_sample(kind):
    x, t = masks(3, 2, 4, 5)
    one, batch = kind(), kind(batch=True)
    each = torch.stack([one(x[i : i + 1], t[i : i + 1]) for i in range(3)]).mean()
    torch.testing.assert_close(one(x, t), each, **CLOSE)
    long = one(*[tensor.movedim(0, -1).flatten(1).unsqueeze(0) for tensor in (x, t)])
    torch.testing.assert_close(batch(x, t), long, **CLOSE)
    assert batch(x, t) != one(x, t)


@pytest.mark.parametrize("kind", [DiceLoss, IoULoss, TverskyLoss])
@given(seed=seeds)
@law
def test_softmax_overlap_is_that_of_each_structure_s_probability(kind, seed):
    x, index = classes(2, 4, 3, 5, seed=seed)
    p, t = x.softmax(1)[:, 1:], F.one_hot(index, 4).movedim(-1, 1)[:, 1:]
    expected = kind()(torch.logit(p), t)
    torch.testing.assert_close(kind(link="softmax")(x, index), expected, rtol=1e-10, atol=0)  # logit(p) rounds


# What does not change a loss


@every_loss
def test_the_order_of_pixels_and_of_samples_changes_nothing(name):
    for seed in range(3):
        loss, arguments = drawn(name, 3, 4, seed=seed)
        expected = loss(*arguments)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(12, generator=generator)
        moved = [a if a.ndim < 3 else a.flatten(-2)[..., order].unflatten(-1, (3, 4)) for a in arguments]
        torch.testing.assert_close(loss(*moved), expected, **CLOSE)
        torch.testing.assert_close(loss(*[a.flip(0) for a in arguments]), expected, **CLOSE)


@every_loss
def test_the_shape_of_space_changes_nothing(name):
    loss, arguments = drawn(name, 2, 3, 4)
    expected = loss(*arguments)
    for shape in [(24,), (4, 6), (2, 2, 3, 2)]:
        folded = [a if a.ndim < 3 else a.flatten(-3).unflatten(-1, shape) for a in arguments]
        torch.testing.assert_close(loss(*folded), expected, **CLOSE)


@pytest.mark.parametrize("name", [name for name, (_, draw) in EVERY.items() if draw in (classes, soft_classes)])
def test_a_constant_added_to_all_logits_changes_no_softmax_loss(name):
    for seed, shift in enumerate([-50.0, 0.1, 33.3]):
        loss, (x, t) = drawn(name, 3, 4, seed=seed)
        # A logit near 50 is rounded by up to 50·2⁻⁵³ = 6e-15.
        torch.testing.assert_close(loss(x + shift, t), loss(x, t), rtol=1e-11, atol=1e-13)


@given(seed=seeds, gamma=gammas, shift=st.floats(-50, 50))
@law
def test_a_shift_of_each_pixel_s_own_changes_no_softmax_focal_loss(seed, gamma, shift):
    x, t = classes(2, 4, 3, 5, seed=seed)
    loss = SoftmaxFocalLoss(gamma, alpha=[1.0, 2.0, 0.5, 3.0])
    shifts = shift * torch.rand(2, 1, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(loss(x + shifts, t), loss(x, t), rtol=1e-11, atol=1e-13)  # as above


@given(seed=seeds, gamma=gammas)
@law
def test_an_ignored_class_that_is_not_there_changes_nothing(seed, gamma):
    x, t = classes(2, 4, 3, 5, seed=seed)
    alpha = [1.0, 2.0, 0.5, 3.0]
    for ignored in (-100, 4, 255):
        for reduction in ("mean", "sum", "none"):
            for kind, options in ((SoftmaxFocalLoss, {"gamma": gamma, "alpha": alpha}), (SoftmaxCrossEntropyLoss, {})):
                expected = kind(**options, reduction=reduction)(x, t)
                ours = kind(**options, reduction=reduction, ignore_index=ignored)(x, t)
                torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize("ignored", [255, -1, 0, 2])
@pytest.mark.parametrize("kind", [SoftmaxFocalLoss, SoftmaxCrossEntropyLoss])
def test_ignored_pixels_count_neither_in_the_sum_nor_in_the_mean_nor_in_the_gradient(kind, ignored):
    x, t = classes(2, 3, 4, 8)
    t[t == ignored] = 1
    marked = t.clone()
    marked[..., ::2] = ignored
    for reduction in ("mean", "sum"):
        y = x.clone().requires_grad_()
        loss = kind(ignore_index=ignored, reduction=reduction)(y, marked)
        torch.testing.assert_close(loss, kind(reduction=reduction)(x[..., 1::2], t[..., 1::2]), **CLOSE)
        loss.backward()
        assert (y.grad[..., ::2] == 0).all()
        assert (y.grad[..., 1::2] != 0).all()
    each = kind(ignore_index=ignored, reduction="none")(x, marked)
    assert (each[..., ::2] == 0).all()


def test_everything_ignored_is_zero_with_a_gradient_of_zero():
    x, t = classes(1, 3, 4)
    loss = SoftmaxFocalLoss(ignore_index=9)(x.requires_grad_(), torch.full_like(t, 9))
    loss.backward()
    assert loss == 0
    assert (x.grad == 0).all()


@pytest.mark.parametrize("gamma", [0, 2])
def test_an_ignored_pixel_may_hold_any_finite_logit(gamma):
    x, t = classes(1, 3, 5)
    t[0, 2] = 255
    loss = SoftmaxFocalLoss(gamma, ignore_index=255)
    expected = loss(x, t)
    x[:, :, 2] = torch.tensor([1e30, -1e30, 1e30])
    torch.testing.assert_close(loss(x, t), expected, rtol=0, atol=0)


def test_an_ignored_class_that_the_target_s_type_cannot_hold_ignores_nothing():
    x, _ = classes(1, 200, 2)
    index = torch.tensor([[156, 3]], dtype=torch.uint8)  # 156 is −100 modulo 256
    expected = F.cross_entropy(x, index.long(), reduction="none")
    for kind in (SoftmaxCrossEntropyLoss, lambda **options: SoftmaxFocalLoss(gamma=0, **options)):
        torch.testing.assert_close(kind(ignore_index=-100, reduction="none")(x, index), expected, **CLOSE)


# Reductions


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        (FocalLoss, masks),
        (FocalLoss, soft_masks),
        (CrossEntropyLoss, masks),
        (SigmoidProbabilityFocalLoss, sigmoid_outputs),
        (SoftmaxFocalLoss, classes),
        (SoftmaxCrossEntropyLoss, classes),
        (SoftmaxProbabilityFocalLoss, softmax_outputs),
    ],
)
@given(seed=seeds, space=spaces)
@law
def test_the_sum_is_that_of_the_map_and_the_mean_times_all_pixels(kind, draw, seed, space):
    x, t = draw(2, 3, *space, seed=seed)
    each, whole, mean = (kind(reduction=reduction)(x, t) for reduction in ("none", "sum", "mean"))
    pixels = x.numel() // (3 if draw in (classes, softmax_outputs) else 1)
    assert each.numel() == pixels
    torch.testing.assert_close(each.sum(), whole, **CLOSE)
    torch.testing.assert_close(mean * pixels, whole, **CLOSE)


@given(seed=seeds)
@law
def test_reduction_positives_divides_by_the_positive_pixels_at_least_one(seed):
    loss, summed = FocalLoss(reduction="positives"), FocalLoss(reduction="sum")
    for x, t in (masks(2, 2, 3, 4, seed=seed), soft_masks(2, 2, 3, 4, seed=seed)):
        assert t.sum() > 1
        torch.testing.assert_close(loss(x, t) * t.sum(), summed(x, t), **CLOSE)
        torch.testing.assert_close(loss(x, t * 0), summed(x, t * 0), **CLOSE)


# Weights and links


@pytest.mark.parametrize("kind", [FocalLoss, CrossEntropyLoss, SigmoidProbabilityFocalLoss])
@given(seed=seeds, alphas=st.lists(rates, min_size=3, max_size=3))
@law
def test_an_alpha_for_each_channel_is_a_loss_for_each_channel(kind, seed, alphas):
    x, t = (sigmoid_outputs if kind is SigmoidProbabilityFocalLoss else masks)(2, 3, 4, 5, seed=seed)
    each = torch.stack([kind(alpha=alpha)(x[:, k : k + 1], t[:, k : k + 1]) for k, alpha in enumerate(alphas)])
    torch.testing.assert_close(kind(alpha=alphas)(x, t), each.mean(), **CLOSE)


@pytest.mark.parametrize(
    "term",
    [
        SoftmaxFocalLoss(gamma=1.5, alpha=[0.2, 1.0, 3.0, 2.0]),
        SoftmaxCrossEntropyLoss(weight=[0.2, 1.0, 3.0, 2.0]),
        DiceLoss(link="softmax"),
        IoULoss(link="softmax", batch=True),
        TverskyLoss(link="softmax", empty="include"),
        GeneralisedDiceLoss(link="softmax"),
    ],
    ids=lambda term: type(term).__name__,
)
@given(seed=seeds)
@law
def test_a_softmax_sum_of_masks_is_the_term_of_class_indices_and_a_background_logit_of_zero(term, seed):
    x, _ = masks(2, 3, 4, 5, seed=seed)
    index = torch.randint(4, (2, 4, 5), generator=torch.Generator().manual_seed(seed))
    exclusive = F.one_hot(index, 4).movedim(-1, 1)[:, 1:]
    expected = term(torch.cat([torch.zeros(2, 1, 4, 5), x], 1), index)
    criterion = WeightedSum({"term": term}, {"term": 3.0})
    for target in (exclusive, exclusive.bool(), exclusive.to(torch.uint8) * 255, exclusive.double() * 0.75):
        report = criterion(x, target)
        torch.testing.assert_close(report.terms["term"], expected, **CLOSE)
        torch.testing.assert_close(report.total, 3 * expected, **CLOSE)


def test_where_masks_overlap_the_last_one_counts():
    overlapping = torch.tensor([[[1, 1, 0, 0], [1, 0, 1, 0]]])
    assert class_indices(overlapping).tolist() == [[2, 1, 2, 0]]
    assert class_indices(torch.tensor([[[0.5, 0.49, 0.0, 1.0]]])).tolist() == [[1, 0, 0, 1]]
    torch.testing.assert_close(
        with_background(torch.ones(1, 2, 3)), torch.tensor([[[0.0] * 3, [1.0] * 3, [1.0] * 3]]), rtol=0, atol=0
    )


@pytest.mark.parametrize("count", [1, 3, 255, 256, 300])
def test_any_number_of_masks_become_as_many_class_indices(count):
    each_alone = torch.eye(count, dtype=torch.bool).unsqueeze(0)
    assert class_indices(each_alone).flatten().tolist() == list(range(1, count + 1))


def test_a_margin_is_the_logit_against_all_other_classes():
    logits = torch.tensor([[3.0, -1.0, 0.5], [40.0, 39.0, -40.0]], dtype=torch.float64)[..., None]
    first, second, third = logits[:, 0], logits[:, 1], logits[:, 2]
    rest = torch.stack([torch.zeros_like(first), second, third]).logsumexp(0)
    torch.testing.assert_close(margins(logits)[:, 0], first - rest)
    assert margins(logits[:, :1] * 1000).isfinite().all()
    torch.testing.assert_close(margins(logits[:1, :1]), logits[:1, :1])  # one structure: its own logit
