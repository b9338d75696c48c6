"""Where a loss comes from: the figures of the record, on a few pixels one can do by hand."""

import math

import pytest
import torch

from segfocal.losses import DiceLoss, FocalLoss, LossReport, SoftmaxCrossEntropyLoss, SoftmaxFocalLoss, WeightedSum
from tests.losses.pairs import masks

EXACT = {"rel": 1e-12}  # float64, four pixels

# Two positives, p = .95 and .25, and two negatives, p = .1 and .8: p_t = .95, .25, .9, .2, the second and fourth hard.
P, T = [0.95, 0.25, 0.1, 0.8], [1, 1, 0, 0]


def four_pixels():
    p = torch.tensor(P, dtype=torch.float64)
    return torch.logit(p).reshape(1, 1, 2, 2), torch.tensor(T).reshape(1, 1, 2, 2)


def by_hand(gamma, positive_weight, negative_weight):
    """Return the figures of the four pixels."""
    p_t = [0.95, 0.25, 0.9, 0.2]
    modulating = [(1 - p) ** gamma for p in p_t]
    weights = [positive_weight] * 2 + [negative_weight] * 2
    costs = [-w * m * math.log(p) for w, m, p in zip(weights, modulating, p_t, strict=True)]
    return {
        "modulating": sum(modulating) / 4,
        "hard_share": (costs[1] + costs[3]) / sum(costs),
        "positive_share": (costs[0] + costs[1]) / sum(costs),
    }


def numbers(figures):
    return {name: value.item() for name, value in figures.items()}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("alpha", "weights"), [(None, (1, 1)), (0.25, (0.25, 0.75)), ([0.9], (0.9, 0.1))])
def test_focal_tells_its_modulating_factor_and_the_shares_of_hard_and_positive_pixels(gamma, alpha, weights):
    x, t = four_pixels()
    for target in (t, t.bool(), t.to(torch.uint8) * 255, t.double(), t.double() * 0.5):  # soft counts from 0.5 on
        figures = FocalLoss(gamma, alpha).anatomy(x, target)
        assert numbers(figures) == pytest.approx(by_hand(gamma, *weights), **EXACT)


def test_gamma_two_of_the_four_pixels_in_figures():
    # 0.05², 0.75², 0.1² and 0.8² are 0.0025, 0.5625, 0.01 and 0.64; their mean is 0.30375.
    # Times −log p_t: 0.000128, 0.779791, 0.001054 and 1.030040.
    x, t = four_pixels()
    figures = numbers(FocalLoss(2.0, alpha=None).anatomy(x, t))
    assert figures["modulating"] == pytest.approx(0.30375, **EXACT)
    assert figures["hard_share"] == pytest.approx(1.809831 / 1.811013, abs=2e-6)  # six decimals above
    assert figures["positive_share"] == pytest.approx(0.779919 / 1.811013, abs=2e-6)


@pytest.mark.parametrize(("alpha", "weights"), [(None, (1, 1)), ([0.75, 0.25], (0.25, 0.75))])
def test_softmax_focal_tells_the_same_of_two_classes_and_leaves_ignored_pixels_out(alpha, weights):
    x, t = four_pixels()
    x = torch.cat([torch.cat([torch.zeros_like(x), x], 1), torch.full((1, 2, 2, 2), 3.0)], 2)
    index = torch.cat([t[:, 0], torch.full((1, 2, 2), 255)], 1)
    figures = SoftmaxFocalLoss(2.0, alpha, ignore_index=255).anatomy(x, index)
    assert numbers(figures) == pytest.approx(by_hand(2.0, *weights), **EXACT)
    everywhere = SoftmaxFocalLoss(2.0, alpha).anatomy(x[:, :, :2], index[:, :2])
    assert numbers(everywhere) == pytest.approx(by_hand(2.0, *weights), **EXACT)


def test_without_any_loss_the_shares_are_zero():
    x = torch.tensor([[[1e4, -1e4]]])
    t = torch.tensor([[[1, 0]]])
    nothing = {"modulating": 0, "hard_share": 0, "positive_share": 0}
    assert numbers(FocalLoss().anatomy(x, t)) == nothing
    two = torch.cat([torch.zeros_like(x), x], 1)
    assert numbers(SoftmaxFocalLoss().anatomy(two, t[:, 0])) == nothing


def test_half_precision_logits_under_autocast_have_the_figures_of_float32():
    x, t = four_pixels()
    half = x.half()
    for loss, logits, target in (
        (FocalLoss(), half, t),
        (SoftmaxFocalLoss(), torch.cat([torch.zeros_like(half), half], 1), t[:, 0]),
    ):
        expected = loss.anatomy(logits.float(), target)
        with torch.autocast("cpu", torch.bfloat16):
            figures = loss.anatomy(logits, target)
        torch.testing.assert_close(figures, expected, rtol=0, atol=0)


def test_a_sum_reports_the_positive_pixels_and_each_focal_term_s_figures_by_name():
    x, t = four_pixels()
    terms = {"focal": FocalLoss(), "plain": FocalLoss(0, None), "dice": DiceLoss()}
    criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0), anatomy=True)
    expected = {"positive_pixels": 0.5}
    for name, options in (("focal", (2.0, 0.25, 0.75)), ("plain", (0.0, 1, 1))):
        expected |= {f"{name}_{part}": value for part, value in by_hand(*options).items()}
    for target in (t, t.double()):
        report = criterion(x.requires_grad_(), target)
        assert numbers(report.anatomy) == pytest.approx(expected, **EXACT)
        assert list(report.anatomy) == criterion.anatomy_names
        assert not any(value.requires_grad for value in report.anatomy.values())


def test_a_softmax_sum_counts_every_structure_as_positive():
    x, t = four_pixels()
    terms = {"focal": SoftmaxFocalLoss(2.0), "cross_entropy": SoftmaxCrossEntropyLoss()}
    criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0), anatomy=True)
    figures = {f"focal_{part}": value for part, value in by_hand(2.0, 1, 1).items()}
    report = criterion(x, t)
    assert numbers(report.anatomy) == pytest.approx({"positive_pixels": 0.5} | figures, **EXACT)
    assert list(report.anatomy) == criterion.anatomy_names


def test_positive_pixels_are_the_mean_of_the_masks():
    x, t = masks(2, 3, 4, 5)
    criterion = WeightedSum({"dice": DiceLoss()}, {"dice": 1.0}, anatomy=True)
    for target, share in ((t, t.double().mean()), (t.to(torch.uint8) * 255, t.double().mean()), (x.sigmoid(), None)):
        known = target.mean() if share is None else share
        assert criterion(x, target).anatomy["positive_pixels"].item() == pytest.approx(
            known.item(), rel=1e-6
        )  # float32


def test_no_figures_are_made_unless_asked_for():
    x, t = four_pixels()
    criterion = WeightedSum({"focal": FocalLoss()}, {"focal": 1.0})
    assert criterion(x, t).anatomy == {}
    assert criterion.anatomy_names == []


def test_the_mean_of_reports_is_the_mean_of_every_number_in_them():
    def report(total):
        value = torch.tensor(total)
        return LossReport(total=value, terms={"dice": 2 * value}, anatomy={"share": 3 * value})

    mean = LossReport.mean([report(1.0), report(4.0)])
    assert (mean.total.item(), mean.terms["dice"].item(), mean.anatomy["share"].item()) == (2.5, 5.0, 7.5)
