"""What holds for all inputs: gradients, what each loss equals, and what does not change it. All in float64.

Tolerances: both sides of an equation differ by the order of a few sums and products, 1e-12 relative at most; the
absolute 1e-14 is for what cancels to nothing.
"""

import inspect

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F

import segfocal.losses
from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoULoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    TverskyLoss,
)
from segfocal.losses.base import Term
from tests.losses.pairs import (
    CLOSE,
    EVERY,
    channels,
    classes,
    gammas,
    law,
    masks,
    seeds,
    sigmoid_outputs,
    soft_classes,
    soft_masks,
    softmax_outputs,
    spaces,
)

every_loss = pytest.mark.parametrize("name", EVERY)


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
    fixed = [tensor for tensor in guess if not tensor.is_floating_point()]  # cells
    inputs = [tensor.requires_grad_() for tensor in (x, *guess) if tensor.is_floating_point()]
    assert torch.autograd.gradcheck(lambda y, *rest: loss(y, target, *rest, *fixed), inputs)


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


# What a loss equals


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


# Types

ON_MASKS = [FocalLoss(), CrossEntropyLoss(), DiceLoss(), IoULoss(), TverskyLoss(), GeneralisedDiceLoss()]
ON_CLASSES = [
    SoftmaxFocalLoss(),
    SoftmaxCrossEntropyLoss(),
    DiceLoss(link="softmax"),
    IoULoss(link="softmax"),
    TverskyLoss(link="softmax"),
    GeneralisedDiceLoss(link="softmax"),
]


@pytest.mark.parametrize("loss", ON_MASKS, ids=lambda m: type(m).__name__)
def test_every_target_type_gives_the_same_loss(loss):
    x, t = masks(2, 1, 6, 5, dtype=torch.float32)
    for dtype in (torch.uint8, torch.int64, torch.float32, torch.float64):
        torch.testing.assert_close(loss(x, t.to(dtype)), loss(x, t))
    torch.testing.assert_close(loss(x, t.to(torch.uint8) * 255), loss(x, t))  # masks of 0 and 255
    exact = loss(x.double(), t)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss(x.double(), t.double()), exact, rtol=1e-14, atol=0)


@pytest.mark.parametrize("loss", ON_CLASSES, ids=lambda m: type(m).__name__)
def test_every_type_of_class_index_gives_the_same_loss(loss):
    x, t = classes(2, 3, 6, 5, dtype=torch.float32)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        torch.testing.assert_close(loss(x, t.to(dtype)), loss(x, t), rtol=0, atol=0)


@pytest.mark.parametrize("loss", ON_MASKS + ON_CLASSES, ids=lambda m: f"{type(m).__name__}, {m.link}")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_is_float32_for_half_logits(loss, dtype):
    x, t = (
        masks(2, 1, 6, 5, dtype=torch.float32) if loss.link == "sigmoid" else classes(2, 3, 6, 5, dtype=torch.float32)
    )
    half = x.to(dtype)
    result = loss(half, t)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(half.float(), t))  # equal: only the input was rounded
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(half, t), result)
