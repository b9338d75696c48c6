"""What no loss takes: a ValueError that says what was expected, what came, and what to do."""

import math
import warnings

import pytest
import torch
from torch.nn.functional import one_hot

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
    inverse_frequency,
)
from tests.losses.pairs import (
    EVERY,
    channels,
    classes,
    masks,
    predictions,
    sigmoid_outputs,
    soft_classes,
    soft_masks,
    with_one,
)

# one name for each class of loss, link, and kind of target
NAMES = {(type(loss), getattr(loss, "link", ""), draw): name for name, (loss, draw) in reversed(EVERY.items())}
every_loss = pytest.mark.parametrize("name", list(NAMES.values())[::-1])


def drawn(name):
    loss, draw = EVERY[name]
    return loss, draw(2, channels(draw), 3, 4)


# Shapes and dtypes, checked always


@every_loss
def test_shapes_that_differ_are_named(name):
    loss, (x, target, *guess) = drawn(name)
    for wrong in (target[..., :2], target[:1], target.flatten(1)):
        with pytest.raises(ValueError, match=r"^expected logits .*; got \[2, .*\] and \[.*\]: "):
            loss(x, wrong, *guess)


@every_loss
def test_an_empty_batch_is_refused(name):
    loss, arguments = drawn(name)
    for nothing in ([a[:0] for a in arguments], [a if a.ndim < 3 else a[..., :0] for a in arguments]):
        with pytest.raises(
            ValueError, match=r"expected at least one pixel; got logits of shape .*: skip empty batches"
        ):
            loss(*nothing)


@every_loss
def test_logits_that_are_no_floating_point_numbers_are_refused(name):
    loss, (x, *rest) = drawn(name)
    for dtype in (torch.int64, torch.uint8, torch.bool):
        with pytest.raises(ValueError, match=f"expected floating-point logits; got {dtype}: pass the network's raw"):
            loss(x.to(dtype), *rest)


@pytest.mark.parametrize("name", [name for (_, _, draw), name in NAMES.items() if draw in (masks, sigmoid_outputs)])
def test_logits_without_a_class_axis_are_refused(name):
    loss, (x, t) = drawn(name)
    with pytest.raises(ValueError, match="expected logits"):
        loss(x[:, 0, 0, 0], t[:, 0, 0, 0])


@pytest.mark.parametrize("name", [name for (_, _, draw), name in NAMES.items() if draw is classes])
def test_a_class_axis_in_the_wrong_place_is_named(name):
    loss, (x, index) = drawn(name)
    with pytest.raises(ValueError, match=r"expected logits \[b,c,\*space\] .*: put the class axis second"):
        loss(x.movedim(1, -1), index)
    with pytest.raises(ValueError, match="take it off the target"):
        loss(x, one_hot(index, 3).movedim(-1, 1))


@pytest.mark.parametrize("name", [name for (_, _, draw), name in NAMES.items() if draw is classes])
def test_class_indices_that_are_no_integers_are_refused(name):
    loss, (x, index) = drawn(name)
    for dtype in (torch.bool, torch.float32):
        # a soft target of cross-entropy has the logits' shape
        with pytest.raises(
            ValueError, match=r"expected (integer class indices; got .*\.long|logits and target of one)"
        ):
            loss(x, index.to(dtype))


@pytest.mark.parametrize("name", [name for (_, _, draw), name in NAMES.items() if draw is classes])
def test_a_single_class_under_softmax_is_refused(name):
    loss, (x, index) = drawn(name)
    with pytest.raises(ValueError, match=r"at least two classes; got .*: for one class use the loss on sigmoid logits"):
        loss(x[:, :1], index * 0)


# Options


@pytest.mark.parametrize(
    ("make", "words"),
    [
        *[
            (lambda kind=kind, gamma=gamma: kind(gamma=gamma), "expected gamma ≥ 0; got")
            for kind in (FocalLoss, SoftmaxFocalLoss, SigmoidProbabilityFocalLoss, SoftmaxProbabilityFocalLoss)
            for gamma in (-1, math.nan)
        ],
        *[
            (lambda kind=kind, alpha=alpha: kind(alpha=alpha), r"expected alpha in \[0,1\]")
            for kind in (FocalLoss, CrossEntropyLoss, SigmoidProbabilityFocalLoss)
            for alpha in (2, 1.5, -0.1, math.nan, [0.5, 1.5], [], "often")
        ],
        *[
            (lambda kind=kind, weights=weights: kind(**weights), "≥ 0 for each class, inverse_frequency or None; got")
            for kind, name in (
                (SoftmaxFocalLoss, "alpha"),
                (SoftmaxProbabilityFocalLoss, "alpha"),
                (SoftmaxCrossEntropyLoss, "weight"),
            )
            for weights in ({name: w} for w in ([1, -1], [1, math.nan], [], 0.25, "often", [[1.0, 2.0]]))
        ],
        *[
            (lambda kind=kind: kind(reduction="median"), "expected reduction mean.* none.*; got 'median'")
            for kind in (
                FocalLoss,
                CrossEntropyLoss,
                SoftmaxFocalLoss,
                SoftmaxCrossEntropyLoss,
                SigmoidProbabilityFocalLoss,
                SoftmaxProbabilityFocalLoss,
            )
        ],
        (lambda: CrossEntropyLoss(reduction="positives"), "reduction"),
        (lambda: SoftmaxFocalLoss(reduction="positives"), "reduction"),
        *[
            (lambda kind=kind, options=options: kind(**options), words)
            for kind in (DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss)
            for options, words in (
                ({"smooth": 0}, "expected smooth > 0"),
                ({"smooth": -1}, "expected smooth > 0"),
                ({"smooth": math.nan}, "expected smooth > 0"),
                ({"empty": "ignore"}, "expected empty smooth.* skip; got 'ignore'"),
                ({"link": "tanh"}, "expected link sigmoid or softmax; got 'tanh'"),
            )
        ],
        (lambda: GeneralisedDiceLoss(empty="include"), "expected empty smooth or skip"),
        (lambda: TverskyLoss(alpha=-1), "expected alpha and beta ≥ 0"),
        (lambda: TverskyLoss(alpha=0, beta=0), "expected alpha and beta ≥ 0, not both zero; got 0 and 0"),
        (lambda: TverskyLoss(exponent=2), r"expected exponent in \(0,1\]; got 2"),
        (lambda: TverskyLoss(exponent=0), r"expected exponent in \(0,1\]; got 0"),
        *[
            (lambda kind=kind, epsilon=epsilon: kind(epsilon=epsilon), r"expected epsilon in \(0, 0.5\); got")
            for kind in (SigmoidProbabilityFocalLoss, SoftmaxProbabilityFocalLoss)
            for epsilon in (0, 0.5, -1e-6)
        ],
        (lambda: SigmoidProbabilityFocalLoss(guard="hope"), "expected guard clip or add; got 'hope'"),
        (lambda: SoftmaxProbabilityFocalLoss(guard="hope"), "expected guard clip or add; got 'hope'"),
        (lambda: inverse_frequency([5, 0]), "pixel count > 0"),
        (lambda: inverse_frequency([]), "pixel count > 0"),
    ],
)
def test_an_option_out_of_range_is_refused_when_the_loss_is_made(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# Values, checked on request

NAN = r"expected finite logits; got 1 of \d+ that are not: look at the network's input, lower the learning rate"
SOFT = r"expected soft targets in \[0,1\]; got 1.5: divide masks of 0 and 255"
ON_MASKS = [FocalLoss, CrossEntropyLoss, DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss]
ON_CLASSES = [
    SoftmaxFocalLoss,
    SoftmaxCrossEntropyLoss,
    *[
        lambda kind=kind, **options: kind(link="softmax", **options)
        for kind in (DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss)
    ],
]
ON_PROBABILITIES = [SigmoidProbabilityFocalLoss, SoftmaxProbabilityFocalLoss]


def bad_values():
    """Yield a loss, arguments of which one number is bad, and what is said about it."""
    (x, t), (_, soft) = masks(2, 2, 3, 4), soft_masks(2, 2, 3, 4)
    for kind in ON_MASKS:
        yield kind, (with_one(x, math.nan), t), NAN
        yield kind, (with_one(x, -math.inf), soft), NAN
        yield kind, (x, with_one(soft, 1.5)), SOFT
        yield kind, (x, with_one(soft, -0.5)), r"soft targets in \[0,1\]; got -0.5"
        yield kind, (x, with_one(soft, math.nan)), r"soft targets in \[0,1\]; got nan"
    x, index = classes(2, 3, 3, 4)
    for kind in ON_CLASSES:
        yield kind, (with_one(x, math.nan), index), NAN
        if kind not in (SoftmaxFocalLoss, SoftmaxCrossEntropyLoss):  # there torch itself refuses
            yield kind, (x, with_one(index, 7)), "class indices 0 to 2; got 7: set ignore_index, or give the network"
            yield kind, (x, with_one(index, -1)), "class indices 0 to 2; got -1"
    _, soft = soft_classes(2, 3, 3, 4)
    yield SoftmaxCrossEntropyLoss, (x, with_one(soft, 1.5)), SOFT
    p, one = x.softmax(1), one_hot(index, 3).movedim(-1, 1)
    for kind in ON_PROBABILITIES:
        yield kind, (with_one(p, 3.2), one), r"expected probabilities in \[0,1\]; got .* to 3.2: for raw logits use"
        yield kind, (with_one(p, -0.1), one), r"probabilities in \[0,1\]; got -0.1 to"
        yield kind, (with_one(p, math.nan), one), "expected"
        yield kind, (p, with_one(one.double(), 1.5)), SOFT
    yield SoftmaxProbabilityFocalLoss, (with_one(p, 3.2), index), r"probabilities in \[0,1\]; got .* to 3.2"
    yield SoftmaxProbabilityFocalLoss, (p, with_one(index, 7)), "class indices 0 to 2; got 7"
    x, t, guess = predictions(2, 2, 3, 4)
    yield IoUHeadLoss, (with_one(x, math.nan), t, guess), NAN
    yield IoUHeadLoss, (x, with_one(t.double(), 1.5), guess), SOFT


@pytest.mark.parametrize(("kind", "arguments", "words"), list(bad_values()))
def test_a_bad_value_is_named_with_validate_and_passes_in_silence_without(kind, arguments, words):
    with pytest.raises(ValueError, match=words):
        kind(validate=True)(*arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind()(*arguments)


@pytest.mark.parametrize("kind", [SoftmaxFocalLoss, SoftmaxCrossEntropyLoss])
@pytest.mark.parametrize("wrong", [7, -1])
def test_a_class_index_out_of_range_is_named_with_validate_unless_it_is_the_ignored_one(kind, wrong):
    x, index = classes(2, 3, 3, 4)
    index = with_one(index, wrong)
    with pytest.raises(ValueError, match=f"expected class indices 0 to 2; got {wrong}: set ignore_index"):
        kind(validate=True)(x, index)
    with pytest.raises(ValueError, match=f"got {wrong}"):
        kind(validate=True, ignore_index=9)(x, index)
    assert torch.isfinite(kind(validate=True, ignore_index=wrong)(x, index))


@every_loss
def test_validate_changes_no_good_value(name):
    loss, arguments = drawn(name)
    if not hasattr(loss, "validate"):
        return
    expected = loss(*arguments)
    try:
        loss.validate = True
        torch.testing.assert_close(loss(*arguments), expected, rtol=0, atol=0)
    finally:
        loss.validate = False
