"""Where our losses are MONAI's, with the options that make them so, and each place where they are not.

MONAI computes focal loss in float32, so equality is to float32: 1e-6 relative. Its Dice family keeps the dtype it gets.
"""

import monai.losses as monai
import pytest
import torch
from torch.nn.functional import one_hot

from segfocal.losses import (
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoULoss,
    SoftmaxFocalLoss,
    TverskyLoss,
    WeightedSum,
)
from segfocal.losses.fused import pixel_sums
from tests.losses.pairs import classes, masks, soft_masks

# A few roundings of float32, and what cancels in MONAI's x − x·t − log p: 2⁻²⁴ of logits up to 6.
SINGLE = {"rtol": 1e-6, "atol": 5e-7}
CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # a few of float64
gammas = pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.5])
batches = pytest.mark.parametrize("batch", [False, True])


def with_channel(index):
    """Return class indices [b,*space] the way MONAI takes them, [b,1,*space]."""
    return index.unsqueeze(1)


def gradients(x, *losses):
    """Return the gradient by x of each function of x."""
    return [torch.autograd.grad(loss(y := x.clone().requires_grad_()), y)[0] for loss in losses]


# Where they coincide


@gammas
@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_sigmoid_focal_is_monai_s_with_the_same_options(gamma, alpha, reduction):
    x, t = masks(2, 3, 5, 4)
    theirs = monai.FocalLoss(gamma=gamma, alpha=alpha, reduction=reduction)
    ours = FocalLoss(gamma, alpha, reduction)
    torch.testing.assert_close(ours(x.float(), t), theirs(x, t), **SINGLE)
    slopes = gradients(x.float(), lambda y: ours(y, t).sum(), lambda y: theirs(y, t).sum())
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)  # of a gradient, a few roundings more


@gammas
@pytest.mark.parametrize("alpha", [None, [0.2, 1.0, 3.0]])
def test_softmax_focal_is_monai_s_in_softmax_mode_times_the_number_of_classes(gamma, alpha):
    x, index = classes(2, 3, 5, 4)
    options = {"gamma": gamma, "use_softmax": True, "to_onehot_y": True}
    # MONAI's map holds a zero for every class but the true one, and its mean divides by them too
    for theirs in (monai.FocalLoss(alpha=alpha, **options), monai.FocalLoss(weight=alpha, **options)):
        ours = SoftmaxFocalLoss(gamma, alpha)(x, index)
        torch.testing.assert_close(ours.float(), 3 * theirs(x, with_channel(index)), **SINGLE)
    theirs = monai.FocalLoss(alpha=alpha, reduction="none", **options)(x, with_channel(index))
    ours = SoftmaxFocalLoss(gamma, alpha, reduction="none")(x, index)
    torch.testing.assert_close(ours.float(), theirs.sum(1), **SINGLE)


def test_softmax_focal_with_one_alpha_for_background_and_structures_is_monai_s_scalar_alpha():
    x, index = classes(2, 3, 5, 4)
    theirs = monai.FocalLoss(alpha=0.25, use_softmax=True, to_onehot_y=True)(x, with_channel(index))
    ours = SoftmaxFocalLoss(alpha=[0.75, 0.25, 0.25])(x, index)
    torch.testing.assert_close(ours.float(), 3 * theirs, **SINGLE)


@pytest.mark.parametrize("ignored", [255, 0])
def test_softmax_focal_with_an_ignored_class_is_monai_s_without_any_factor(ignored):
    x, index = classes(2, 3, 5, 4)
    index[:, ::2] = ignored
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, ignore_index=ignored)(x, with_channel(index))
    ours = SoftmaxFocalLoss(ignore_index=ignored)(x, index)
    torch.testing.assert_close(ours.float(), theirs, **SINGLE)  # with a mask its mean divides by pixels, as ours


@batches
@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_dice_iou_and_tversky_are_monai_s_with_its_two_smooths_equal(smooth, batch):
    pairs = [masks(3, 2, 5, 4), soft_masks(3, 2, 5, 4)]
    for x, t in pairs:
        options = {"sigmoid": True, "batch": batch}
        for ours, theirs in [
            (DiceLoss, monai.DiceLoss(smooth_nr=smooth, smooth_dr=smooth, **options)),
            # Jaccard: MONAI adds smooth to twice the sums
            (IoULoss, monai.DiceLoss(jaccard=True, smooth_nr=2 * smooth, smooth_dr=2 * smooth, **options)),
            (
                TverskyLoss,
                monai.TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=smooth, smooth_dr=smooth, **options),
            ),
        ]:
            loss = ours(smooth=smooth, batch=batch)
            torch.testing.assert_close(loss(x, t), theirs(x, t.double()), **CLOSE)
            slopes = gradients(
                x, lambda y, loss=loss, t=t: loss(y, t), lambda y, theirs=theirs, t=t: theirs(y, t * 1.0)
            )
            torch.testing.assert_close(*slopes, **CLOSE)


@batches
def test_softmax_dice_iou_and_tversky_are_monai_s_without_the_background(batch):
    x, index = classes(3, 4, 5, 4)
    options = {"softmax": True, "to_onehot_y": True, "include_background": False, "batch": batch}
    for ours, theirs in [
        (DiceLoss, monai.DiceLoss(smooth_nr=1, smooth_dr=1, **options)),
        (IoULoss, monai.DiceLoss(jaccard=True, smooth_nr=2, smooth_dr=2, **options)),
        (TverskyLoss, monai.TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1, **options)),
    ]:
        loss = ours(link="softmax", batch=batch)
        torch.testing.assert_close(loss(x, index), theirs(x, with_channel(index)), **CLOSE)


@batches
def test_focal_tversky_is_a_power_of_monai_s_tversky_before_its_mean(batch):
    x, t = masks(3, 2, 5, 4)
    options = {"alpha": 0.3, "beta": 0.7, "batch": batch}
    theirs = monai.TverskyLoss(sigmoid=True, smooth_nr=1, smooth_dr=1, reduction="none", **options)(x, t.double())
    torch.testing.assert_close(TverskyLoss(exponent=0.75, **options)(x, t), (theirs**0.75).mean(), **CLOSE)


def test_focal_tversky_is_the_foreground_part_of_monai_s_asymmetric_focal_tversky():
    x, t = masks(3, 1, 5, 4)
    t[0, 0, 0, 0] = True
    theirs = monai.unified_focal_loss.AsymmetricFocalTverskyLoss(delta=0.7, gamma=0.25, reduction="none")
    p = torch.sigmoid(x)
    foreground = theirs(torch.cat([1 - p, p], 1), torch.cat([~t, t], 1).double())[:, 1].mean()
    ours = TverskyLoss(alpha=0.3, beta=0.7, exponent=1 - 0.25, smooth=1e-7)(x, t)
    torch.testing.assert_close(ours, foreground, **CLOSE)


def test_softmax_generalised_dice_is_monai_s_with_smooth_in_pixels_of_the_rarest_class():
    x, index = classes(1, 4, 5, 4)
    sizes = index.flatten().bincount(minlength=4)
    assert sizes[3] == 0  # both give a missing class the weight of the rarest
    smooth = 0.7 / sizes[:3].min().item() ** 2  # MONAI weighs a class by 1/size², we by (rarest/size)²
    for batch in (False, True):
        theirs = monai.GeneralizedDiceLoss(
            softmax=True, to_onehot_y=True, smooth_nr=smooth, smooth_dr=smooth, batch=batch
        )(x, with_channel(index))
        ours = GeneralisedDiceLoss(smooth=0.7, batch=batch, link="softmax")(x, index)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)  # MONAI's weights are float32


@batches
def test_sigmoid_generalised_dice_is_monai_s_softmax_form_of_a_channel_and_its_complement(batch):
    x, t = masks(3, 1, 5, 4)
    t[0, 0, 0, 0] = True
    two, index = torch.cat([torch.zeros_like(x), x], 1), t.long()
    theirs = monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, smooth_nr=1e-9, smooth_dr=1e-9, batch=batch)
    ours = GeneralisedDiceLoss(smooth=1e-9, batch=batch)
    torch.testing.assert_close(ours(x, t), theirs(two, index), rtol=1e-6, atol=0)  # as above


@batches
def test_the_weighted_sum_of_focal_and_dice_is_monai_s_dice_focal(batch):
    x, t = masks(3, 2, 5, 4)
    theirs = monai.DiceFocalLoss(
        sigmoid=True, batch=batch, smooth_nr=1, smooth_dr=1, alpha=0.25, lambda_focal=20, lambda_dice=0.5
    )
    ours = WeightedSum({"focal": FocalLoss(), "dice": DiceLoss(batch=batch)}, {"focal": 20.0, "dice": 0.5})
    torch.testing.assert_close(ours(x, t).total.float(), theirs(x, t.double()).float(), **SINGLE)


# Where they do not


def test_monai_s_sum_is_a_mean_over_space_of_each_map():
    x, t = masks(2, 3, 5, 4)
    theirs = monai.FocalLoss(alpha=0.25, reduction="sum")(x, t)
    ours = FocalLoss(reduction="sum")(x, t)
    torch.testing.assert_close(ours.float(), 20 * theirs, **SINGLE)


def test_an_alpha_for_each_channel_leaves_monai_s_negatives_at_weight_one():
    x, t = masks(2, 2, 5, 4)
    alpha = [0.2, 0.9]
    ours = FocalLoss(alpha=alpha, reduction="none")(x, t).float()
    theirs = monai.FocalLoss(alpha=alpha, reduction="none")(x, t)
    torch.testing.assert_close(ours[t], theirs[t], **SINGLE)
    rest = 1 - torch.tensor(alpha).reshape(2, 1, 1).expand_as(x)
    torch.testing.assert_close(ours[~t], (rest * theirs)[~t], **SINGLE)


def test_a_soft_target_is_no_mixture_for_monai():
    x = torch.tensor([[[-3.0, 0.5, 3.0]]], dtype=torch.float64)
    half = torch.full_like(x, 0.5)
    theirs = monai.FocalLoss(gamma=2, reduction="none")(x, half)
    # For t = 1/2 it takes (1/2)^γ as the modulating factor, whatever the logit
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(x, half, reduction="none")
    torch.testing.assert_close(theirs, (0.25 * cross_entropy).float(), **SINGLE)
    ours = FocalLoss(gamma=2, alpha=None, reduction="none")
    mixture = (ours(x, torch.ones_like(x)) + ours(x, torch.zeros_like(x))) / 2
    torch.testing.assert_close(ours(x, half), mixture, **CLOSE)
    assert not torch.allclose(theirs, mixture.float(), rtol=0.1)


def test_monai_s_softmax_mode_leaves_out_the_background_before_its_softmax():
    x, index = classes(2, 3, 5, 4)
    options = {"use_softmax": True, "to_onehot_y": True, "reduction": "none"}
    without = monai.FocalLoss(include_background=False, **options)(x, with_channel(index)).sum(1)
    among_structures = SoftmaxFocalLoss(ignore_index=-1, reduction="none")(x[:, 1:], index - 1)
    torch.testing.assert_close(without, among_structures.float(), **SINGLE)
    ours = SoftmaxFocalLoss(alpha=[0, 1, 1], reduction="none")(x, index)  # no cost for background, but a rival
    assert (ours[index > 0] > among_structures[index > 0]).all()


def test_monai_loses_the_digits_of_easy_negatives_that_we_keep():
    x, t = torch.tensor([[[-17.0]]]), torch.zeros(1, 1, 1)
    exact = torch.nn.functional.softplus(x.double())
    assert monai.FocalLoss(gamma=0)(x, t) == 0  # −17 − logsigmoid(−17), which is 17 in float32
    assert FocalLoss(gamma=0, alpha=None)(x, t).item() == pytest.approx(exact.item(), rel=1e-6)


def test_monai_s_softmax_focal_has_no_gradient_at_a_sure_answer_where_gamma_is_a_half():
    x, index = torch.tensor([[[30.0], [-30.0]]]), torch.tensor([[0]])
    theirs = monai.FocalLoss(gamma=0.5, use_softmax=True, to_onehot_y=True)
    their_slope, our_slope = gradients(
        x, lambda y: theirs(y, with_channel(index)), lambda y: SoftmaxFocalLoss(gamma=0.5)(y, index)
    )
    assert their_slope.isnan().any()
    assert our_slope.isfinite().all()


def test_monai_s_defaults_are_no_alpha_little_smooth_and_the_background_counted():
    x, t = masks(2, 2, 5, 4)
    torch.testing.assert_close(monai.FocalLoss()(x, t), FocalLoss(alpha=None)(x, t).float(), **SINGLE)
    assert monai.FocalLoss()(x, t) > 1.2 * FocalLoss()(x, t)
    little = monai.DiceLoss(sigmoid=True)(x, t.double())
    torch.testing.assert_close(little, DiceLoss(smooth=1e-5)(x, t), **CLOSE)
    assert little != DiceLoss()(x, t)
    even = monai.TverskyLoss(sigmoid=True)(x, t.double())
    torch.testing.assert_close(even, TverskyLoss(0.5, 0.5, smooth=1e-5)(x, t), **CLOSE)
    x, index = classes(2, 3, 5, 4)
    counted = monai.DiceLoss(softmax=True, to_onehot_y=True, reduction="none")(x, with_channel(index))
    ours = DiceLoss(smooth=1e-5, link="softmax")(x, index)
    torch.testing.assert_close(ours, counted[:, 1:].mean(), **CLOSE)
    assert ours != counted.mean()


def test_an_empty_target_costs_one_under_monai_with_next_to_no_gradient():
    x, t = torch.zeros(1, 1, 5, 4, dtype=torch.float64), torch.zeros(1, 1, 5, 4)
    theirs = monai.DiceLoss(sigmoid=True)
    assert theirs(x, t).item() == pytest.approx(1, abs=1e-5)  # 1 − 1e-5 / Σp
    slopes = gradients(
        x,
        lambda y: theirs(y, t),
        lambda y: DiceLoss()(y, t),
        lambda y: DiceLoss(empty="include")(y, t),
        lambda y: DiceLoss(empty="skip")(y, t),
    )
    sizes = [slope.sum().item() for slope in slopes]
    # d/dx of 1 − s/(Σp + s) with Σp = 10 and p(1 − p) = 1/4 on each of 20 pixels; of mean p; of nothing
    assert sizes[0] == pytest.approx(20 * 0.25 * 1e-5 / (10 + 1e-5) ** 2, rel=1e-9)
    assert sizes[1:] == pytest.approx([20 * 0.25 / 11**2, 0.25, 0], rel=1e-9)


def test_monai_s_sigmoid_generalised_dice_has_one_quotient_for_all_channels_and_no_complement():
    x, t = masks(1, 2, 5, 4, seed=1)
    t[0, 1, 0, 0] = True
    p, size = torch.sigmoid(x), t.sum((2, 3))
    both, claimed, weight = (p * t).sum((2, 3)), p.sum((2, 3)), 1 / size**2
    theirs = monai.GeneralizedDiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=0)(x, t.double())
    one_quotient = 1 - 2 * (weight * both).sum() / (weight * (claimed + size)).sum()
    torch.testing.assert_close(theirs, one_quotient, rtol=1e-6, atol=0)  # MONAI's weights are float32
    ours = GeneralisedDiceLoss(smooth=1e-9)(x, t)
    each = torch.stack([GeneralisedDiceLoss(smooth=1e-9)(x[:, k : k + 1], t[:, k : k + 1]) for k in range(2)])
    torch.testing.assert_close(ours, each.mean(), **CLOSE)
    assert abs(ours - theirs) > 0.01


def test_monai_s_sigmoid_generalised_dice_learns_nothing_from_an_empty_target():
    x, t = masks(1, 1, 5, 4)
    assert not t.any()
    slopes = gradients(
        x, lambda y: monai.GeneralizedDiceLoss(sigmoid=True)(y, t.double()), lambda y: GeneralisedDiceLoss()(y, t)
    )
    assert (slopes[0] == 0).all()
    assert (slopes[1] > 0).all()


def test_monai_s_generalised_smooth_weighs_more_the_larger_the_rarest_class():
    x = torch.zeros(1, 2, 40, 50, dtype=torch.float64)
    index = (torch.arange(2000) < 1000).long().reshape(1, 40, 50)
    theirs = monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True)(x, with_channel(index)).item()
    # p is a half everywhere: Dice is a half, but 1e-5 is not small beside Σ (1/1000²)·(1000 + 1000) = 0.004
    assert theirs == pytest.approx(1 - (0.002 + 1e-5) / (0.004 + 1e-5), rel=1e-5)
    ours = GeneralisedDiceLoss(smooth=1e-5, link="softmax")(x, index).item()
    assert ours == pytest.approx(0.5, abs=1e-8)


def test_monai_s_dice_focal_in_softmax_mode_takes_its_focal_part_one_class_against_the_rest():
    x, index = classes(2, 3, 5, 4)
    theirs = monai.DiceFocalLoss(softmax=True, to_onehot_y=True, lambda_dice=0)(x, with_channel(index))
    truth = one_hot(index, 3).movedim(-1, 1)
    torch.testing.assert_close(theirs.float(), FocalLoss(alpha=None)(x, truth).float(), **SINGLE)
    assert abs(theirs - SoftmaxFocalLoss()(x, index) / 3) > 0.01


def test_a_mask_of_255_is_inside_for_us_and_255_times_inside_for_monai():
    x, t = (tensor[1:] for tensor in masks(2, 2, 5, 4))  # neither mask is empty
    bright = t.to(torch.uint8) * 255
    torch.testing.assert_close(DiceLoss()(x, bright), DiceLoss()(x, t), **CLOSE)
    assert monai.DiceLoss(sigmoid=True)(x, bright) < 0


def test_a_softmax_of_one_channel_is_refused_by_us_and_left_out_by_monai():
    x, t = masks(1, 1, 5, 4)
    with pytest.warns(UserWarning, match="single channel"):
        theirs = monai.DiceLoss(softmax=True)(x, t.double())
    torch.testing.assert_close(theirs, monai.DiceLoss()(x, t.double()))  # raw logits as if they were probabilities
    with pytest.raises(ValueError, match="at least two classes"):
        DiceLoss(link="softmax")(x, t[:, 0].long())


def test_monai_s_dice_of_half_precision_logits_sums_in_half_precision():
    x, t = torch.zeros(1, 1, 400, 400, dtype=torch.float16), torch.zeros(1, 1, 400, 400)
    t[..., :100] = 1
    theirs = monai.DiceLoss(sigmoid=True)(x, t.half())
    assert theirs == 1  # Σp = 80,000 overflows float16: the quotient is 0
    # Σpt = 20,000, Σp = 80,000, Σt = 40,000
    assert DiceLoss()(x, t.bool()).item() == pytest.approx(1 - 40_001 / 120_001, rel=1e-6)
    sums = pixel_sums(x, t.bool(), gamma=None)
    assert (sums.both.item(), sums.predicted.item(), sums.target.item()) == (20_000, 80_000, 40_000)


def test_a_soft_target_met_exactly_costs_monai_s_soft_label_dice_nothing():
    x, _ = masks(2, 2, 5, 4)
    p = torch.sigmoid(x)
    met = monai.DiceLoss(sigmoid=True, soft_label=True)(x, p)
    assert met.item() == pytest.approx(0, abs=1e-12)
    assert DiceLoss(smooth=1e-5)(x, p) > 0.1  # Σp·p is less than Σp; MONAI's default costs the same as ours
    torch.testing.assert_close(DiceLoss(smooth=1e-5)(x, p), monai.DiceLoss(sigmoid=True)(x, p), **CLOSE)
