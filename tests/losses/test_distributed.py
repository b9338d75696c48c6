"""Two processes with half a batch each: the losses that are quotients of sums are those of one process with all of it.

Each process averages its gradient with the other's, as distributed training does.
"""

import multiprocessing
import signal
from functools import partial

import pytest
import torch
from torch import distributed as dist

from segfocal.losses import (
    BlobLoss,
    CCDiceLoss,
    ComponentFocalLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoULoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    TverskyLoss,
    WeightedSum,
)

SECONDS = 120  # to start two processes on a busy machine; without an answer by then they are ended

ON_MASKS = {
    "batch dice": DiceLoss(batch=True),
    "batch dice, skip": DiceLoss(batch=True, empty="skip"),
    "batch dice, include": DiceLoss(batch=True, empty="include"),
    "dice, skip": DiceLoss(empty="skip"),
    "dice, include": DiceLoss(empty="include"),
    "batch iou": IoULoss(batch=True),
    "batch tversky": TverskyLoss(batch=True, exponent=0.75),
    "batch generalised dice": GeneralisedDiceLoss(batch=True),
    "focal": FocalLoss(),
    "focal, positives": FocalLoss(reduction="positives"),
}
ON_CLASSES = {
    "softmax focal": SoftmaxFocalLoss(),
    "softmax batch dice": DiceLoss(batch=True, link="softmax"),
    "softmax batch generalised dice": GeneralisedDiceLoss(batch=True, link="softmax"),
}
BY_LESION = {
    "cc-dice, skip": CCDiceLoss(),
    "cc-dice, include": CCDiceLoss(cross_entropy=1.0, empty="include"),
    "blob": BlobLoss(),
    "component focal": ComponentFocalLoss(1.0),
}


def by_lesion(loss, x, t):
    """Return a loss of masks in whose columns the lesions 1, 2 and 3 lie."""
    return loss(x, t, (torch.arange(t.shape[-1]) // 3 + 1).expand(t.shape))


SUM = WeightedSum(ON_MASKS, {name: 1.0 + number for number, name in enumerate(ON_MASKS)})
CASES = {
    **{name: (loss, "masks") for name, loss in ON_MASKS.items()},
    **{f"{name}, soft": (loss, "soft masks") for name, loss in ON_MASKS.items()},
    "one pass": (lambda x, t: SUM(x, t).total, "masks"),
    **{name: (loss, "classes") for name, loss in ON_CLASSES.items()},
    "softmax focal, ignored": (SoftmaxFocalLoss(alpha=[0.5, 1, 2], ignore_index=255), "ignored classes"),
    **{name: (partial(by_lesion, loss), "masks") for name, loss in BY_LESION.items()},
}
SHARED = [name for name in CASES if "batch" in name]  # each process has the whole loss, not its share


def batch(kind):
    """Return four samples whose halves differ in every count: empty masks, positives, ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, 7, generator=generator, dtype=torch.float64) * 2
    t = torch.rand(4, 3, 5, 7, generator=generator) < torch.tensor([0.6, 0.3, 0.1, 0.1]).reshape(4, 1, 1, 1)
    t[2:, 0] = False  # only in the first half
    t[:, 1] = False  # nowhere
    t[:3, 2] = False  # only in the last sample
    index = torch.where(t[:, 0], 1, torch.where(t[:, 2], 2, 0))
    if kind == "ignored classes":
        index[0, :4] = 255
    return x, {"masks": t, "soft masks": t * 0.75}.get(kind, index)


def value_and_gradient(name, samples):
    """Return a loss of some of the samples, and its gradient by the logits of all."""
    loss, kind = CASES[name]
    x, t = batch(kind)
    value = loss(x.requires_grad_()[samples], t[samples])
    return value.item(), torch.autograd.grad(value, x)[0]


ACCUMULATED = {
    "focal, positives": FocalLoss(reduction="positives"),
    "focal, sum": FocalLoss(reduction="sum"),
    "dice, skip": DiceLoss(empty="skip"),
    "softmax focal, ignored": SoftmaxFocalLoss(ignore_index=0),
    "softmax cross-entropy": SoftmaxCrossEntropyLoss(weight=[0.0, 1.0, 2.0, 0.5]),
}


def accumulated(name, parts):
    """Return the mean loss of parts of the batch that make a step, one after another, and its gradient."""
    criterion = WeightedSum({"one": ACCUMULATED[name]}, {"one": 1.0}, compile=False)
    x, t = batch("masks")
    x.requires_grad_()
    with criterion.one_step([t[part] for part in parts]):
        value = sum(criterion(x[part], t[part]).total for part in parts) / len(parts)
    return value.item(), torch.autograd.grad(value, x)[0]


def half_of_it(rank, folder):
    """Be one of two processes: put what each loss gives for this half of the batch into a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        singles = [slice(2 * rank + number, 2 * rank + number + 1) for number in (0, 1)]
        steps = {name: accumulated(name, singles) for name in ACCUMULATED}
        torch.save({f"accumulated {name}": one for name, one in steps.items()}, folder / f"accumulated_{rank}.pt")
        halves = {name: value_and_gradient(name, slice(2 * rank, 2 * rank + 2)) for name in CASES}
        torch.save(halves, folder / f"{rank}.pt")
        dist.barrier()  # whoever ends first would take the connection with it
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """What two processes get for each case."""
    folder = tmp_path_factory.mktemp("processes")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=half_of_it, args=(rank, folder), daemon=True) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    # gloo's threads may abort a process that ends, when what it found is in its file already
    assert {worker.exitcode for worker in workers} <= {0, -signal.SIGABRT}
    assert all((folder / f"{rank}.pt").is_file() for rank in range(2))
    return [torch.load(folder / f"{rank}.pt") | torch.load(folder / f"accumulated_{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_get_the_value_and_the_gradient_of_one(name, halves):
    value, gradient = value_and_gradient(name, slice(None))
    values, gradients = zip(*[half[name] for half in halves], strict=True)
    close = {"rtol": 1e-10, "atol": 1e-12}  # float64: sums in another order
    assert sum(values) / 2 == pytest.approx(value, rel=1e-10)
    torch.testing.assert_close((gradients[0] + gradients[1]) / 2, gradient, **close)
    assert (gradients[0][2:] == 0).all()
    assert (gradients[1][:2] == 0).all()


@pytest.mark.parametrize("name", ACCUMULATED)
def test_two_processes_of_two_batches_make_the_step_of_one_batch_of_four(name, halves):
    value, gradient = accumulated(name, [slice(None)])
    values, gradients = zip(*[half[f"accumulated {name}"] for half in halves], strict=True)
    assert sum(values) / 2 == pytest.approx(value, rel=1e-10)
    torch.testing.assert_close((gradients[0] + gradients[1]) / 2, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SHARED)
def test_a_loss_of_the_batch_is_the_same_in_each_process(name, halves):
    value, _ = value_and_gradient(name, slice(None))
    assert [half[name][0] for half in halves] == pytest.approx([value, value], rel=1e-10)


def test_the_halves_are_unlike_each_other():
    t, index = batch("masks")[1], batch("ignored classes")[1]
    assert t[:2].sum() > 3 * t[2:].sum() > 0
    assert t.any((2, 3))[:, 0].tolist() == [True, True, False, False]
    assert ((index[:2] == 255).sum(), (index[2:] == 255).sum()) == (28, 0)
