"""What holds of every loss by lesion: numbers of lesions mean nothing, one lesion is the plain loss, all is safe."""

import numpy as np
import pytest
import torch

from segfocal.component_cells import component_cells
from segfocal.losses import BlobLoss, CCDiceLoss, ComponentFocalLoss, DiceLoss, FocalLoss, WeightedSum
from segfocal.losses.component_sums import cell_sums, present_components
from tests.losses.pairs import CLOSE, masks, soft_masks

# Each beside the loss that it is of a single component.
PLAIN = {
    "CC-Dice": (CCDiceLoss(), DiceLoss()),
    "blob dice": (BlobLoss(smooth=0.5), DiceLoss(smooth=0.5)),
    "blob focal": (BlobLoss("focal", gamma=0.5, alpha=[0.2, 0.9]), FocalLoss(gamma=0.5, alpha=[0.2, 0.9])),
    "component focal": (ComponentFocalLoss(0.7, gamma=3), FocalLoss(gamma=3)),
}
LOSSES = {name: loss for name, (loss, _) in PLAIN.items()}
LOSSES |= {"CC-Dice and cross-entropy": CCDiceLoss(cross_entropy=1.0, empty="include")}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def blobs(*, seed=0, dtype=torch.float64, share=0.5):
    """Return logits [2,2,9,11], masks of a few pieces each, the last of the first sample empty, and their cells."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(2, 2, 9, 11, generator=generator, dtype=torch.float64) * 2).to(dtype)
    coarse = torch.rand(2, 2, 4, 5, generator=generator) < share * 0.6
    t = torch.nn.functional.interpolate(coarse.float(), size=(9, 11)) > 0
    t[0, 1] = False
    return x, t, cells_of(t)


def cells_of(t):
    """Return the cells [b,k,h,w] of masks of that shape."""
    found = [component_cells(one.numpy(), (1.0,) * one.ndim) for one in t.flatten(0, 1)]
    return torch.from_numpy(np.stack(found).astype(np.int32)).reshape(t.shape)


def with_gradient(loss, x, *rest):
    value = loss(y := x.clone().requires_grad_(), *rest)
    return value.detach(), torch.autograd.grad(value, y)[0]


@every_loss
def test_renumbering_changes_nothing(loss):
    x, t, cells = blobs()
    expected = with_gradient(loss, x, t, cells)
    order = torch.randperm(int(cells.max()) + 4, generator=torch.Generator().manual_seed(1))
    for renumbered in (order[cells.long()], cells * 1000 + 7, cells.to(torch.uint8)):
        for ours, theirs in zip(with_gradient(loss, x, t, renumbered), expected, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize(("loss", "plain"), PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("draw", [masks, soft_masks])
def test_one_component_is_the_plain_loss(loss, plain, draw):
    x, t = draw(3, 2, 5, 7)
    if draw is soft_masks and not isinstance(loss, CCDiceLoss):
        plain = (lambda of: lambda x, t: of(x, t >= 0.5))(plain)  # the others take a soft target as hard
    t[0, -1] = 1  # no map without a target
    if isinstance(loss, ComponentFocalLoss):  # whose components are those of all maps of a structure
        x, t = x[:1], t[:1]
    cells = torch.ones(t.shape, dtype=torch.int32)
    for ours, theirs in zip(with_gradient(loss, x, t, cells), with_gradient(plain, x, t), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@every_loss
def test_without_any_target_nothing_is_lost_but_what_the_loss_says(loss):
    x, t, cells = blobs()
    value, gradient = with_gradient(loss, x, t & False, cells * 0)
    if isinstance(loss, ComponentFocalLoss):
        expected = with_gradient(FocalLoss(gamma=3), x, t & False)
    elif loss is LOSSES["CC-Dice and cross-entropy"]:
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(x, torch.zeros_like(x))
        expected = x.sigmoid().mean() + entropy, gradient
    else:
        expected = torch.tensor(0.0, dtype=x.dtype), torch.zeros_like(x)
    torch.testing.assert_close(value, expected[0], **CLOSE)
    torch.testing.assert_close(gradient, expected[1], **CLOSE)


@every_loss
def test_ignored_pixels_get_no_gradient_and_their_place_does_not_matter(loss):
    """They are background beyond doubt, in logits and target, and lie in some cell."""
    x, t, cells = blobs()
    ignored = torch.rand(t.shape, generator=torch.Generator().manual_seed(5)) < 0.3
    x, t = x.masked_fill(ignored, -1e4), t & ~ignored
    value, gradient = with_gradient(loss, x, t, cells)
    assert torch.isfinite(value)
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).any()
    if loss.__class__ is not CCDiceLoss or not loss.cross_entropy:  # a mean over a cell counts them where they lie
        moved = torch.where(ignored, cells.roll(1, 2), cells)
        torch.testing.assert_close(loss(x, t, moved), value, **CLOSE)


@every_loss
@pytest.mark.parametrize("size", [0.0, 4.0, 17.0, 60.0, 1e4])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float32 under autocast"])
def test_value_and_gradient_are_finite_and_close_to_those_in_float64(loss, size, name):
    """Tolerances as in test_safety.py; half a step more for gradients in the logits' dtype."""
    dtype = getattr(torch, name.split()[0])
    _, t, cells = blobs()
    signs = torch.randint(2, t.shape, generator=torch.Generator().manual_seed(2)) * 2 - 1
    x = (signs * size).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=name.endswith("autocast")):
        value, gradient = with_gradient(loss, x, t, cells)
    exact, slope = with_gradient(loss, x.double(), t, cells)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(value.double(), exact, rtol=2e-5, atol=1e-7)  # 1 − Dice is a difference of ones
    step = torch.finfo(dtype)
    torch.testing.assert_close(
        gradient.double(), slope, rtol=2e-5 + step.eps, atol=max(step.smallest_normal * step.eps, 1e-30)
    )


@every_loss
def test_every_target_type_gives_the_same_loss(loss):
    x, t, cells = blobs(dtype=torch.float32)
    for kind in (torch.uint8, torch.int64, torch.float32, torch.float64):
        torch.testing.assert_close(loss(x, t.to(kind), cells), loss(x, t, cells), rtol=1e-6, atol=0)
    torch.testing.assert_close(loss(x, t.to(torch.uint8) * 255, cells), loss(x, t, cells))  # masks of 0 and 255


@every_loss
def test_cells_that_do_not_fit_are_refused(loss):
    x, t, cells = blobs()
    name = type(loss).__name__
    with pytest.raises(ValueError, match=f"expected the cells of the target's components for {name}; got none"):
        loss(x, t)
    for wrong in (cells[..., :3], cells.float(), cells > 0):
        with pytest.raises(ValueError, match=f"expected cells for {name}: integers of the logits' shape"):
            loss(x, t, wrong)
    loss.validate = True
    try:
        with pytest.raises(ValueError, match=r"expected cells ≥ 0 .* got -1"):
            loss(x, t, cells - 1 - cells)
    finally:
        loss.validate = False


@every_loss
def test_a_sum_hands_on_cells_and_keeps_the_one_pass_of_the_other_terms(loss):
    x, t, cells = blobs()
    others = {"focal": FocalLoss(), "dice": DiceLoss(batch=True)}
    criterion = WeightedSum({"a": loss, **others}, {"a": 2.0, "focal": 5.0, "dice": 1.0}, anatomy=True)
    assert criterion.uses_components
    assert not WeightedSum(others, {"focal": 1.0, "dice": 1.0}).uses_components
    report = criterion(x, t, cells=cells)
    assert list(report.terms) == ["a", "focal", "dice"]
    expected = 2 * loss(x, t, cells) + 5 * FocalLoss()(x, t) + DiceLoss(batch=True)(x, t)
    torch.testing.assert_close(report.total, expected, **CLOSE)
    plain = WeightedSum(others, {"focal": 5.0, "dice": 1.0}, anatomy=True)(x, t)
    assert report.anatomy == plain.anatomy
    with pytest.raises(ValueError, match="got none"):
        criterion(x, t)


@pytest.mark.parametrize(
    "loss", [LOSSES["CC-Dice"], LOSSES["CC-Dice and cross-entropy"], LOSSES["blob dice"], ComponentFocalLoss(0.0)]
)
def test_batches_of_a_step_make_the_loss_and_the_gradient_of_one(loss):
    x, t, cells = blobs()
    criterion = WeightedSum({"a": loss}, {"a": 1.0})
    assert criterion.spanning_batch == []
    whole = with_gradient(lambda *a: criterion(*a[:2], cells=a[2]).total, x, t, cells)
    values, y = [], x.clone().requires_grad_()
    with criterion.one_step(list(t.split(1)), list(cells.split(1))):
        for part in range(2):
            one = slice(part, part + 1)
            values.append(criterion(y[one], t[one], cells=cells[one]).total / 2)
    torch.testing.assert_close(sum(values).detach(), whole[0], **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(sum(values), y)[0], whole[1], **CLOSE)


def test_sums_are_those_of_each_cell_by_itself():
    for draw in (masks, soft_masks):
        x, t = draw(2, 2, 6, 5)
        cells = torch.randint(4, t.shape, generator=torch.Generator().manual_seed(3))
        sums = cell_sums(x, t, cells, cross_entropy=True)
        p, q = x.sigmoid(), t.double()
        entropy = -q * p.log() - (1 - q) * (1 - p).log()
        for number in range(4):
            here = cells == number
            for found, map_ in zip(sums, (p * q, p, q, entropy, torch.ones_like(p)), strict=True):
                torch.testing.assert_close(found[..., number], (map_ * here).sum((2, 3)), rtol=1e-11, atol=1e-12)
        expected = torch.stack([((cells == n) & (t > 0)).flatten(2).any(2) for n in range(4)], dim=-1)
        assert present_components(t, cells).equal(expected)


def test_a_sum_over_a_million_pixels_keeps_its_digits():
    x = torch.full((1, 1, 1024, 1024), -9.0)
    sums = cell_sums(x, x > 0, torch.zeros(x.shape, dtype=torch.int32))
    torch.testing.assert_close(sums.predicted.item(), 1024**2 * torch.sigmoid(x[0, 0, 0, 0]).item(), rtol=2e-7, atol=0)
