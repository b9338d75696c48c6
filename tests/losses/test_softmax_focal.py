"""The multi-class focal loss: what it equals, what it does not change with, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from segfocal.losses import FocalLoss, SoftmaxFocalLoss, inverse_frequency


def pair(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 4
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


SHAPES = [(2, 3), (3, 4, 7), (2, 5, 3, 4), (1, 3, 2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gamma_zero_is_cross_entropy(shape, reduction):
    x, t = pair(*shape)
    ours = SoftmaxFocalLoss(gamma=0, reduction=reduction)(x, t)
    torch.testing.assert_close(ours, F.cross_entropy(x, t, reduction=reduction), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [0, 0.5, 2, 3.5])
def test_two_classes_are_the_binary_loss(gamma):
    x, t = pair(2, 1, 5, 4)
    t = torch.randint(2, (2, 5, 4), generator=torch.Generator().manual_seed(1))
    two = torch.cat([torch.zeros_like(x), x], dim=1)
    ours = SoftmaxFocalLoss(gamma=gamma, alpha=[0.75, 0.25])(two, t)
    torch.testing.assert_close(ours, FocalLoss(gamma=gamma, alpha=0.25)(x, t[:, None]), rtol=1e-12, atol=1e-14)


@given(seed=st.integers(0, 999), gamma=st.floats(0, 5), shift=st.floats(-50, 50))
@settings(max_examples=50, deadline=None)
def test_a_constant_added_to_all_logits_and_an_order_of_pixels_change_nothing(seed, gamma, shift):
    x, t = pair(2, 4, 6, seed=seed)
    loss = SoftmaxFocalLoss(gamma=gamma, alpha=[1.0, 2.0, 0.5, 3.0])
    torch.testing.assert_close(loss(x + shift, t), loss(x, t), rtol=1e-9, atol=1e-12)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(x[:, :, order], t[:, order]), loss(x, t), rtol=1e-12, atol=0)


def test_ignored_pixels_count_neither_in_the_sum_nor_in_the_mean():
    x, t = pair(2, 3, 8)
    ignored = t.clone()
    ignored[:, ::2] = 255
    loss = SoftmaxFocalLoss(gamma=2, ignore_index=255)
    torch.testing.assert_close(loss(x, ignored), SoftmaxFocalLoss(gamma=2)(x[:, :, 1::2], t[:, 1::2]))
    torch.testing.assert_close(loss(x, t), SoftmaxFocalLoss(gamma=2)(x, t))
    x.requires_grad_()
    loss(x, ignored).backward()
    assert (x.grad[:, :, ::2] == 0).all()


def test_everything_ignored_is_zero_with_a_gradient_of_zero():
    x, t = pair(1, 3, 4)
    x.requires_grad_()
    loss = SoftmaxFocalLoss(ignore_index=9)(x, torch.full_like(t, 9))
    loss.backward()
    assert loss == 0
    assert (x.grad == 0).all()


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5])
@pytest.mark.parametrize("size", [0, 8.5, 17, 30, 100, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_loss_and_gradient_are_finite_for_any_logit(gamma, size, dtype):
    x = torch.tensor([[size, -size, 0.0], [-size, size, 0.0]], dtype=dtype).requires_grad_()
    for target in ([0, 0], [1, 1], [2, 2]):
        losses = SoftmaxFocalLoss(gamma=gamma, reduction="none")(x, torch.tensor(target))
        (gradient,) = torch.autograd.grad(losses.sum(), x)
        assert losses.dtype == torch.float32
        assert torch.isfinite(losses).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_pass_gradcheck(gamma):
    x, t = pair(2, 3, 4)
    loss = SoftmaxFocalLoss(gamma=gamma, alpha=[0.2, 1.0, 3.0])
    assert torch.autograd.gradcheck(lambda y: loss(y, t), x.requires_grad_())


def test_three_classes_cost_what_the_textbook_says():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64)
    t = torch.tensor([2, 1, 0])
    assert SoftmaxFocalLoss(gamma=0)(p.log(), t).item() == pytest.approx(1.1919, abs=5e-5)  # four figures are given


def test_alpha_follows_the_module_and_its_state():
    loss = SoftmaxFocalLoss(alpha=[1.0, 2.0])
    assert "alpha" in loss.state_dict()
    assert SoftmaxFocalLoss().alpha is None


def test_inverse_frequency_weighs_rare_classes_up_with_mean_one():
    weights = inverse_frequency([900, 90, 10])
    assert sum(weights) / 3 == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(90)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftmaxFocalLoss(gamma=-1), "gamma ≥ 0"),
        (lambda: SoftmaxFocalLoss(alpha=[1, -1]), "alpha ≥ 0"),
        (lambda: SoftmaxFocalLoss(alpha=0.25), "alpha ≥ 0"),
        (lambda: SoftmaxFocalLoss(reduction="positives"), "reduction"),
        (lambda: SoftmaxFocalLoss()(torch.zeros(2, 4, 4, 3), torch.zeros(2, 4, 4).long()), "class axis second"),
        (lambda: SoftmaxFocalLoss()(torch.zeros(2, 3, 4), torch.zeros(2, 4)), "integer class indices"),
        (lambda: SoftmaxFocalLoss()(torch.zeros(2, 1, 4), torch.zeros(2, 4).long()), "use FocalLoss"),
        (lambda: SoftmaxFocalLoss()(torch.zeros(0, 3, 4), torch.zeros(0, 4).long()), "at least one pixel"),
        (lambda: SoftmaxFocalLoss(alpha=[1, 2])(torch.zeros(2, 3, 4), torch.zeros(2, 4).long()), "each of 3 classes"),
        (lambda: SoftmaxFocalLoss(validate=True)(torch.zeros(1, 3, 2), torch.tensor([[0, 7]])), "got 7"),
        (lambda: inverse_frequency([5, 0]), "pixel count > 0"),
    ],
)
def test_misuse_is_a_value_error_that_says_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()
