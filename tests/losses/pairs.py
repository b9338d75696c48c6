"""Random logits with a target to match, what the laws draw from, and every loss beside the target it takes."""

import itertools

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from segfocal.component_cells import component_cells
from segfocal.losses import (
    BlobLoss,
    CCDiceLoss,
    ComponentFocalLoss,
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

# float64: both sides of an equation differ by the order of a few sums and products, 1e-12 relative at most; the
# absolute 1e-14 is for what cancels to nothing.
CLOSE = {"rtol": 1e-12, "atol": 1e-14}
seeds = st.integers(0, 9999)
gammas = st.floats(0, 6)
rates = st.floats(0, 1)
spaces = st.lists(st.integers(1, 5), min_size=0, max_size=3)
law = settings(max_examples=30, deadline=None)


def masks(*shape, seed=0, dtype=torch.float64):
    """Return logits [b,k,*space] and bool masks of that shape; the last mask of the first sample is empty."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(shape, generator=generator) < 0.3
    t[0, -1] = False
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 2, t


def soft_masks(*shape, seed=0):
    """Return logits [b,k,*space] and a target between 0 and 1, some of it on either end."""
    x, t = masks(*shape, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return x, (t + torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5).clamp(0, 1)


def classes(*shape, seed=0, dtype=torch.float64):
    """Return logits [b,c,*space] and class indices [b,*space]; the last class is missing from the first sample."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 2
    index = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    index[0] = index[0].clamp(max=shape[1] - 2)
    return x, index


def soft_classes(*shape, seed=0):
    """Return logits [b,c,*space] and class probabilities of that shape."""
    return masks(*shape, seed=seed)[0], masks(*shape, seed=seed + 1)[0].softmax(1)


def sigmoid_outputs(*shape, seed=0):
    """Return probabilities [b,k,*space], clear of 0 and 1, and masks."""
    x, t = masks(*shape, seed=seed)
    return torch.sigmoid(x).clamp(0.02, 0.98), t


def softmax_outputs(*shape, seed=0):
    """Return probabilities [b,c,*space] and one-hot masks."""
    x, index = classes(*shape, seed=seed)
    return x.softmax(1), one_hot(index, shape[1]).movedim(-1, 1)


def predictions(*shape, seed=0):
    """Return logits [b,k,*space], masks and a predicted IoU [b,k]."""
    generator = torch.Generator().manual_seed(seed)
    return *masks(*shape, seed=seed), torch.rand(shape[:2], generator=generator, dtype=torch.float64)


def lesions(*shape, seed=0):
    """Return logits [b,k,*space], masks with several components, but the last of the first sample, and their cells."""
    x, t = masks(*shape, seed=seed)
    flat = t.flatten(0, 1).flatten(1).reshape(-1, 1, t[0, 0].numel()).numpy()
    cells = torch.from_numpy(np.stack([component_cells(one, (1, 1)) for one in flat]).astype(np.int32))
    return x, t, cells.reshape(t.shape)


def losses_and_gradients(term, x, t):
    """Yield value and gradient of a term called on its own, and, of a sigmoid term, in the one pass."""
    criterion = WeightedSum({"term": term}, {"term": 1.0})
    for loss in (term, lambda x, t: criterion(x, t).total)[: 2 if term.link == "sigmoid" else 1]:
        value = loss(y := x.clone().requires_grad_(), t)
        yield value.detach(), torch.autograd.grad(value, y)[0]


def with_one(tensor, value):
    """Return a copy with the last number replaced."""
    changed = tensor.clone(memory_format=torch.contiguous_format)
    changed.view(-1)[-1] = value
    return changed


def total(terms):
    """Return the weighted sum of terms as a function of logits and target."""
    criterion = WeightedSum(terms, {name: 0.5 + number for number, name in enumerate(terms)})
    return lambda x, t: criterion(x, t).total


ON_MASKS = {
    "focal": FocalLoss(),
    "focal, gamma 0.5": FocalLoss(gamma=0.5, reduction="sum"),
    "focal, gamma 0": FocalLoss(gamma=0, alpha=None),
    "focal, alpha by channel": FocalLoss(gamma=3.5, alpha=[0.2, 0.9], reduction="positives"),
    "cross-entropy": CrossEntropyLoss(),
    "cross-entropy, balanced": CrossEntropyLoss(alpha=[0.2, 0.9]),
    "tversky, focal": TverskyLoss(exponent=0.75),
    "one pass": total({"focal": FocalLoss(1.5), "dice": DiceLoss(batch=True), "generalised": GeneralisedDiceLoss()}),
}
ON_CLASSES = {
    "softmax focal": SoftmaxFocalLoss(),
    "softmax focal, alpha": SoftmaxFocalLoss(gamma=0.5, alpha=[0.2, 1.0, 3.0], reduction="sum"),
    "softmax cross-entropy": SoftmaxCrossEntropyLoss(),
    "softmax cross-entropy, weighted": SoftmaxCrossEntropyLoss(weight=[0.2, 1.0, 3.0]),
}
for kind, empty, batch in itertools.product(
    (DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss), ("smooth", "include", "skip"), (False, True)
):
    if kind is not GeneralisedDiceLoss or empty != "include":
        name = f"{kind.__name__}, {empty}{', batch' * batch}"
        ON_MASKS[name] = kind(empty=empty, batch=batch)
        ON_CLASSES[f"{name}, softmax"] = kind(empty=empty, batch=batch, link="softmax")

# name: (loss, what draws its arguments)
EVERY = {
    **{name: (loss, masks) for name, loss in ON_MASKS.items()},
    **{f"{name}, soft": (loss, soft_masks) for name, loss in ON_MASKS.items()},
    **{name: (loss, classes) for name, loss in ON_CLASSES.items()},
    "softmax cross-entropy, soft": (SoftmaxCrossEntropyLoss(weight=[0.2, 1.0, 3.0]), soft_classes),
    "focal on sigmoid, clipped": (SigmoidProbabilityFocalLoss(gamma=1.5), sigmoid_outputs),
    "focal on sigmoid, added": (SigmoidProbabilityFocalLoss(alpha=[0.2, 0.9], guard="add"), sigmoid_outputs),
    "focal on softmax, clipped": (SoftmaxProbabilityFocalLoss(gamma=1.5), softmax_outputs),
    "focal on softmax, added": (SoftmaxProbabilityFocalLoss(alpha=[0.2, 1, 3], guard="add"), softmax_outputs),
    "CC-Dice": (CCDiceLoss(), lesions),
    "CC-Dice and cross-entropy, include": (CCDiceLoss(0.5, 2.0, "include"), lesions),
    "blob dice": (BlobLoss(), lesions),
    "blob focal": (BlobLoss("focal", gamma=1.5, alpha=[0.2, 0.9]), lesions),
    "component focal": (ComponentFocalLoss(), lesions),
    "component focal, power 1.5": (ComponentFocalLoss(1.5, 0.5, [0.2, 0.9]), lesions),
    "iou head": (IoUHeadLoss(), predictions),
    "iou head, soft batch": (IoUHeadLoss(soft_batch=True), predictions),
}


def channels(draw):
    """Return how many channels the losses of EVERY expect of such arguments: two masks, or three classes."""
    return 3 if draw in (classes, soft_classes, softmax_outputs) else 2
