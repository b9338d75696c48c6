"""The weighted sum: its total, its report, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoUHeadLoss,
    IoULoss,
    LossReport,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    TverskyLoss,
    WeightedSum,
)
from tests.losses.four_pixels import by_hand, four_pixels, numbers
from tests.losses.pairs import CLOSE, law, masks, predictions, seeds, with_one

# SAM-Med2D adds 1e-12 (focal) inside its logarithms, we add nothing: its own rounding, well inside the 1e-6 asked.
REFERENCE = {"rel": 1e-6, "abs": 1e-12}

EXACT = {"rel": 1e-12}  # float64, four pixels


def pair(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 3, torch.rand(shape, generator=generator) < 0.2


def test_weighted_sum_reports_each_unweighted_term():
    x, t = pair(2, 1, 5, 5)
    report = WeightedSum({"focal": FocalLoss(), "dice": DiceLoss()}, {"focal": 20.0, "dice": 0.5})(x, t)
    assert set(report.terms) == {"focal", "dice"}
    torch.testing.assert_close(report.total, 20 * report.terms["focal"] + 0.5 * report.terms["dice"])
    assert not report.terms["dice"].requires_grad


def test_their_total_is_twenty_focal_plus_dice_plus_iou(case):
    terms = {"focal": FocalLoss(2.0, 0.25), "dice": DiceLoss(batch=True), "iou_head": IoUHeadLoss(soft_batch=True)}
    criterion = WeightedSum(terms, {"focal": 20.0, "dice": 1.0, "iou_head": 1.0})
    report = criterion(case["x"], case["t"].to(torch.uint8), case["iou"])
    assert report.total.item() == pytest.approx(case["total_gamma2_alpha025_20_1_1"], **REFERENCE)


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


def test_the_iou_head_sees_all_candidates_and_the_other_terms_the_chosen_mask():
    x, t, guess = predictions(2, 3, 4, 5)
    one, target = x[:, 1:2], t[:, :1]
    criterion = WeightedSum({"dice": DiceLoss(), "iou_head": IoUHeadLoss()}, {"dice": 2.0, "iou_head": 3.0})
    report = criterion(one, target, guess, candidates=x)
    expected = {"dice": DiceLoss()(one, target), "iou_head": IoUHeadLoss()(x, target.expand_as(x), guess)}
    torch.testing.assert_close(report.terms, expected, **CLOSE)
    torch.testing.assert_close(report.total, 2 * expected["dice"] + 3 * expected["iou_head"], **CLOSE)


# Where the loss comes from


def test_a_sum_reports_the_positive_pixels_and_each_focal_term_s_anatomy_by_name():
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
    found = {f"focal_{part}": value for part, value in by_hand(2.0, 1, 1).items()}
    report = criterion(x, t)
    assert numbers(report.anatomy) == pytest.approx({"positive_pixels": 0.5} | found, **EXACT)
    assert list(report.anatomy) == criterion.anatomy_names


def test_positive_pixels_are_the_mean_of_the_masks():
    x, t = masks(2, 3, 4, 5)
    criterion = WeightedSum({"dice": DiceLoss()}, {"dice": 1.0}, anatomy=True)
    for target, share in ((t, t.double().mean()), (t.to(torch.uint8) * 255, t.double().mean()), (x.sigmoid(), None)):
        known = target.mean() if share is None else share
        assert criterion(x, target).anatomy["positive_pixels"].item() == pytest.approx(
            known.item(), rel=1e-6
        )  # float32


def test_no_anatomy_is_made_unless_asked_for():
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


# What it refuses


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WeightedSum({"dice": DiceLoss()}, {"focal": 1.0}), "one weight for each loss term; got terms .*dice"),
        (lambda: WeightedSum({"dice": DiceLoss()}, {}), "one weight for each"),
        (lambda: WeightedSum({}, {"dice": 1.0}), "one weight for each"),
        (lambda: WeightedSum({}, {}), "one weight for each"),
        (lambda: WeightedSum({"dice": DiceLoss()}, {"dice": -1.0}), "expected loss weights ≥ 0; got -1"),
        (lambda: WeightedSum({"dice": DiceLoss()}, {"dice": math.nan}), "expected loss weights ≥ 0; got nan"),
    ],
)
def test_names_and_weights_that_do_not_fit_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("term", [SigmoidProbabilityFocalLoss(), SoftmaxProbabilityFocalLoss()])
def test_a_sum_refuses_losses_of_probabilities_because_it_is_given_logits(term):
    with pytest.raises(ValueError, match="expected losses of logits"):
        WeightedSum({"focal": term}, {"focal": 1.0})


def test_a_sum_refuses_a_loss_that_is_a_map():
    with pytest.raises(ValueError, match=r"loss terms that are one number; got reduction none of \['focal'\]: choose"):
        WeightedSum({"focal": FocalLoss(reduction="none"), "dice": DiceLoss()}, {"focal": 1.0, "dice": 1.0})


@pytest.mark.parametrize("compile", ["never", 2, None])
def test_an_unknown_way_to_compile_is_refused(compile):
    with pytest.raises(ValueError, match="auto, true or false"):
        WeightedSum({"dice": DiceLoss()}, {"dice": 1.0}, compile=compile)


@pytest.mark.parametrize(
    "terms",
    [
        {"focal": FocalLoss(), "dice": DiceLoss(link="softmax")},
        {"focal": SoftmaxFocalLoss(), "dice": DiceLoss()},
        {"cross_entropy": SoftmaxCrossEntropyLoss(), "generalised": GeneralisedDiceLoss()},
        {"focal": SoftmaxFocalLoss(), "iou_head": IoUHeadLoss()},
    ],
)
def test_a_sum_of_both_links_is_refused_and_names_them(terms):
    with pytest.raises(ValueError, match=r"expected loss terms of one link; got .*softmax.*: choose the softmax or"):
        WeightedSum(terms, dict.fromkeys(terms, 1.0))


def test_an_iou_head_without_a_predicted_iou_is_refused():
    x, t, guess = predictions(2, 2, 3, 4)
    criterion = WeightedSum({"iou_head": IoUHeadLoss()}, {"iou_head": 1.0})
    with pytest.raises(ValueError, match="got none: use a promptable task"):
        criterion(x, t)
    assert criterion(x, t, guess).total > 0


@pytest.mark.parametrize("term", [FocalLoss(), DiceLoss(), SoftmaxFocalLoss(), DiceLoss(link="softmax")], ids=repr)
def test_a_sum_refuses_what_its_terms_refuse(term):
    criterion = WeightedSum({"term": term}, {"term": 1.0})
    x, t = masks(2, 2, 3, 4)
    for logits, target, words in (
        (x, t[:, :1], "one shape"),
        (x, t[:, 0], "one shape"),
        (x[:0], t[:0], "at least one pixel"),
        (x.long(), t, "floating-point logits"),
    ):
        with pytest.raises(ValueError, match=words):
            criterion(logits, target)


@pytest.mark.parametrize(
    ("terms", "wrong"),
    [
        ({"focal": FocalLoss(), "dice": DiceLoss()}, "soft"),
        ({"focal": FocalLoss(), "dice": DiceLoss()}, "nan"),  # in the one pass
        ({"cross_entropy": CrossEntropyLoss()}, "nan"),
        ({"focal": SoftmaxFocalLoss(), "dice": DiceLoss(link="softmax")}, "nan"),
    ],
)
def test_a_sum_checks_values_from_when_it_is_told_to_until_told_not_to(terms, wrong):
    criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0))
    x, t = masks(2, 2, 3, 4)
    x, t = (x, with_one(t.double(), 1.5)) if wrong == "soft" else (with_one(x, math.nan), t)
    words = r"expected soft targets in \[0,1\]; got 1.5" if wrong == "soft" else "expected finite logits; got 1 of"
    criterion(x, t)
    criterion.check_values(True)
    assert all(term.validate for term in terms.values())
    with pytest.raises(ValueError, match=words):
        criterion(x, t)
    criterion.check_values(False)
    criterion(x, t)


ACCUMULATED = {
    "focal": FocalLoss(),
    "focal, sum": FocalLoss(reduction="sum"),
    "focal, positives": FocalLoss(reduction="positives"),
    "cross-entropy, sum": CrossEntropyLoss(reduction="sum"),
    "dice": DiceLoss(),
    "dice, skip": DiceLoss(empty="skip"),
    "tversky, include": TverskyLoss(empty="include"),
    "generalised dice, skip": GeneralisedDiceLoss(empty="skip"),
    "softmax focal": SoftmaxFocalLoss(alpha=[0.2, 1, 2]),
    "softmax focal, ignored": SoftmaxFocalLoss(ignore_index=0),
    "softmax focal, sum": SoftmaxFocalLoss(ignore_index=0, reduction="sum"),
    "softmax cross-entropy": SoftmaxCrossEntropyLoss(weight=[0.1, 1, 2]),
    "softmax cross-entropy, ignored": SoftmaxCrossEntropyLoss(ignore_index=0),
    "softmax cross-entropy, sum": SoftmaxCrossEntropyLoss(weight=[0.1, 0, 2], reduction="sum"),
    "softmax dice, skip": DiceLoss(empty="skip", link="softmax"),
}


def uneven(dtype=torch.float64):
    """Return four samples of two structures, apart from each other, of which the later have few or none."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 2, 6, 5, generator=generator, dtype=torch.float64) * 2
    rates = torch.tensor([0.7, 0.4, 0.1, 0.0]).reshape(4, 1, 1)
    first = torch.rand(4, 6, 5, generator=generator) < rates
    masks = torch.stack([first, ~first & (torch.rand(4, 6, 5, generator=generator) < rates / 4)], dim=1)
    return logits.to(dtype).requires_grad_(), masks


def step(criterion, batches, dtype=torch.float64):
    """Return the loss and gradient of a step, of which each batch gives its share."""
    logits, masks = uneven(dtype)
    parts = list(zip(logits.split(4 // batches), masks.split(4 // batches), strict=True))
    with criterion.one_step([target for _, target in parts] if batches > 1 else []):
        total = sum(criterion(*part).total for part in parts) / batches
    return total.detach(), torch.autograd.grad(total, logits)[0]


@pytest.mark.parametrize("batches", [2, 4])
@pytest.mark.parametrize("name", ACCUMULATED)
def test_batches_of_a_step_add_up_to_one_batch(name, batches):
    criterion = WeightedSum({"one": ACCUMULATED[name]}, {"one": 3.0}, compile=False)
    for part, whole in zip(step(criterion, batches), step(criterion, 1), strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-14)  # float64, in another order
    again = step(criterion, 1)
    assert torch.equal(again[0], step(WeightedSum({"one": ACCUMULATED[name]}, {"one": 3.0}), 1)[0])  # nothing stays


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_batches_of_a_step_add_up_in_every_precision(dtype):
    terms = {"focal": FocalLoss(reduction="positives"), "sum": FocalLoss(reduction="sum"), "dice": DiceLoss()}
    criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0), compile=False)
    part, whole = step(criterion, 4, dtype), step(criterion, 1, dtype)
    torch.testing.assert_close(part[0], whole[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(part[1].float(), whole[1].float(), rtol=2e-2, atol=1e-4)  # of bfloat16


def test_a_step_without_any_positive_or_valid_pixel_is_finite():
    for term in (FocalLoss(reduction="positives"), DiceLoss(empty="skip")):
        criterion, logits = WeightedSum({"one": term}, {"one": 1.0}, compile=False), torch.randn(2, 1, 3, 3)
        with criterion.one_step([torch.zeros(1, 1, 3, 3, dtype=torch.bool)] * 2):
            assert criterion(logits, torch.zeros(2, 1, 3, 3, dtype=torch.bool)).total.isfinite()


def test_terms_over_a_whole_batch_are_named():
    terms = {"a": DiceLoss(batch=True), "b": DiceLoss(), "c": GeneralisedDiceLoss(batch=True), "d": FocalLoss()}
    terms["e"] = IoUHeadLoss(soft_batch=True)
    assert WeightedSum(terms, dict.fromkeys(terms, 1.0)).spanning_batch == ["a", "c", "e"]
