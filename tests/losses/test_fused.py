"""The one-pass sums equal the composed losses, in value and gradient; test_safety holds them to the safety law."""

import pytest
import torch

from segfocal.losses import (
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoUHeadLoss,
    IoULoss,
    TverskyLoss,
    WeightedSum,
    fused,
)
from segfocal.losses.fused import pixel_sums, share_one_pass

ALL = {
    "focal": FocalLoss(gamma=1.5, alpha=0.3), "dice": DiceLoss(batch=True), "iou": IoULoss(),
    "tversky": TverskyLoss(exponent=0.75), "generalised_dice": GeneralisedDiceLoss(batch=True),
}  # fmt: skip


def pair(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 5, torch.rand(
        shape, generator=generator
    ) < 0.2


def summed(terms, x, t, *, compile=False):
    """Return total, terms and gradient of the weighted sum: of the one pass where the target is hard."""
    y = x.detach().clone().requires_grad_()
    report = WeightedSum(terms, dict.fromkeys(terms, 2.0), compile=compile)(y, t)
    report.total.backward()
    return report.total.detach(), report.terms, y.grad


def composed(terms, x, t):
    """Return the same of the terms called one by one."""
    y = x.detach().clone().requires_grad_()
    values = {name: term(y, t) for name, term in terms.items()}
    total = sum(2.0 * value for value in values.values())
    total.backward()
    return total.detach(), {name: value.detach() for name, value in values.items()}, y.grad


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (2, 3, 4, 5, 3), (4, 2)])
@pytest.mark.parametrize("names", [["focal"], ["dice"], ["focal", "dice"], list(ALL)])
def test_fused_terms_equal_the_composed_ones(shape, names, form):
    x, t = pair(*shape)
    for target in (t, t.to(torch.uint8) * 255, t.to(torch.int64) * -3):
        terms = {name: ALL[name] for name in names}
        assert share_one_pass(terms.values(), target)
        torch.testing.assert_close(summed(terms, x, target), composed(terms, x, target), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "positives"])
@pytest.mark.parametrize("alpha", [None, 0.25, [0.1, 0.8]])
def test_every_reduction_and_alpha_of_focal_can_be_fused(reduction, alpha, form):
    x, t = pair(2, 2, 6, 5)
    terms = {"focal": FocalLoss(alpha=alpha, reduction=reduction)}
    torch.testing.assert_close(summed(terms, x, t), composed(terms, x, t), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25, [0.1, 0.8]])
def test_where_a_loss_comes_from_is_told_by_the_sums_as_by_the_pixels(gamma, alpha, form):
    x, t = pair(2, 2, 6, 5)
    focal = FocalLoss(gamma, alpha)
    for target in (t, t.to(torch.uint8) * 255, torch.zeros_like(t)):
        for terms in ({"focal": focal}, {"focal": focal, "dice": DiceLoss()}):
            report = WeightedSum(terms, dict.fromkeys(terms, 1.0), anatomy=True)(x.clone().requires_grad_(), target)
            expected = {f"focal_{part}": value for part, value in focal.anatomy(x, target).items()}
            expected["positive_pixels"] = (target != 0).double().mean()
            assert not any(value.requires_grad for value in report.anatomy.values())
            torch.testing.assert_close(dict(report.anatomy), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_of_the_sums_pass_gradcheck(gamma):
    x, t = pair(2, 2, 3, 4)
    assert torch.autograd.gradcheck(lambda y: tuple(pixel_sums(y, t, gamma=gamma))[:4], x.requires_grad_())


def test_nothing_full_size_is_saved_but_the_inputs():
    x, t = pair(2, 1, 8, 8, dtype=torch.float32)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: (saved.append(tensor), tensor)[1], lambda t: t):
        pixel_sums(x.requires_grad_(), t, gamma=2)
    full_size = {tensor.data_ptr() for tensor in saved if tensor.numel() > 2}
    assert full_size == {x.data_ptr(), t.data_ptr()}


@pytest.mark.parametrize(
    ("terms", "target", "fusable"),
    [
        (ALL, torch.uint8, True),
        (ALL, torch.float32, False),
        ({"a": FocalLoss(), "b": FocalLoss(gamma=1)}, torch.bool, False),
        ({"i": IoUHeadLoss()}, torch.bool, False),
        ({"d": DiceLoss(link="softmax")}, torch.uint8, False),
    ],
)
def test_what_cannot_be_fused_is_composed(terms, target, fusable):
    assert share_one_pass(terms.values(), torch.zeros(1, 1, 2, 2).to(target)) is fusable


def test_a_machine_that_cannot_compile_gets_the_eager_loss_and_one_warning(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(fused, "compiled_form", broken)  # one may have been compiled before
    x, t = pair(1, 1, 4, 4)
    for target in (t, t.double()):  # in the one pass, and one by one
        monkeypatch.setattr(fused, "kinds_that_cannot_compile", set())
        criterion = WeightedSum({"dice": DiceLoss()}, {"dice": 1.0}, compile=True)
        with pytest.warns(UserWarning, match="uncompiled") as said:
            totals = [criterion(x, target).total for _ in range(2)]
        assert len(said) == 1
        torch.testing.assert_close(totals, [DiceLoss()(x, target)] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("names", [["focal", "dice"], ["focal", "dice", "iou", "tversky"]])
def test_compiled_equals_eager(names):
    x, t = pair(2, 1, 16, 16, dtype=torch.float32)
    terms, t = {name: ALL[name] for name in names}, t.to(torch.uint8)
    torch.testing.assert_close(summed(terms, x, t, compile=True), composed(terms, x, t))


@pytest.mark.slow
def test_compiled_composed_terms_equal_eager_for_soft_targets():
    x, t = pair(2, 1, 16, 16, dtype=torch.float32)
    terms = {"focal": FocalLoss(), "dice": DiceLoss()}
    torch.testing.assert_close(summed(terms, x, t * 0.8, compile=True), composed(terms, x, t * 0.8))
