"""Answers respect their prompts, whatever the model says: marks hold, boxes bound, and a mark changes its components.

A model without a mind answers each prompt with blobs anywhere, so the laws cannot come from it.
"""

import zlib

import numpy as np
import pytest
import torch
from scipy import ndimage

from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, ScanPrompts, SlicePrompt
from segfocal.inference.prompted.slice_boxes import answer_boxes
from segfocal.inference.prompted.touching import MARGIN_PIXELS, MARGIN_SHARE
from segfocal.models import PromptUNet, sam_tiny
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect

SIZE = (40, 52)  # larger than a window


class Mindless(Perfect):
    """Answers blobs that differ with every prompt."""

    def inside(self, truth, prompt):
        said = b"".join(np.nan_to_num(value.numpy()).tobytes() for value in prompt.values())
        generator = torch.Generator().manual_seed(zlib.crc32(said))
        coarse = torch.randn(1, 1, 7, 7, generator=generator)
        return torch.nn.functional.interpolate(coarse, size=truth.shape, mode="bilinear")[0, 0] > 0.3


MODELS = {
    "mindless": Mindless,
    "sam_tiny": lambda: sam_tiny(image_size=SIDE, width=48, heads=6, decoder_width=32).eval(),
    "prompt_unet": lambda: PromptUNet(image_size=SIDE, widths=(16, 24)).eval(),
}


def drawn_prompts(rng):
    """Return a box or none, and up to three marks."""
    h, w = SIZE

    def places(count, spread=12.0):
        middle = rng.uniform([0, 0], [w - 1, h - 1])
        return tuple(map(tuple, np.clip(middle + rng.uniform(-spread, spread, (count, 2)), 0, [w - 1, h - 1])))

    prompts = []
    if rng.random() < 0.7:
        (x0, y0), (x1, y1) = np.sort(rng.uniform([0, 0], [w, h], (2, 2)), 0)
        prompts.append(SlicePrompt(structure=0, slice=0, box_xyxy=(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))))
    for _ in range(rng.integers(0 if prompts else 1, 4)):
        kind, inside = rng.integers(3), bool(rng.random() < 0.6)
        if kind == 0:
            prompts.append(SlicePrompt(structure=0, slice=0, point_xy=places(1)[0], inside=inside))
        elif kind == 1:
            prompts.append(SlicePrompt(structure=0, slice=0, scribble_xy=places(3, 6.0), inside=inside))
        else:
            prompts.append(SlicePrompt(structure=0, slice=0, lasso_xy=places(4), inside=False))
    return prompts


def answered(prompts, image, model, folder, change="component"):
    given = PropagatedPrompts(
        prompts=prompts, structures=[Structure(name="a", value=1)], spacing_mm=(1.0, 1.0, 1.0),
        session=folder / "answers", embeddings=folder / "embeddings", options=PropagationOptions(change=change),
    )  # fmt: skip
    with torch.no_grad():
        (slab,) = propagate(given, image, model, device=torch.device("cpu"), batch_size=1)
    return slab.logits[0, 0] > 0


def hold_the_laws(count, model, folder):
    image = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    for seed in range(count):
        prompts = drawn_prompts(np.random.default_rng(seed))
        before = None
        for number in range(1, len(prompts) + 1):
            now = answered(prompts[:number], image, model, folder)
            check_marks(prompts[:number], now)
            check_box(prompts[:number], now)
            if before is not None:
                check_changes(before, now, prompts[number - 1])
            before = now


def check_marks(prompts, answer):
    said = torch.full(SIZE, -1)
    closed = torch.zeros(SIZE, dtype=torch.bool)
    for mark in prompts:
        if mark.adds:
            said[mark.pixels(SIZE)] = int(mark.inside)
            closed = closed | mark.pixels(SIZE) if mark.lasso_xy else closed
    assert answer[said == 1].all()
    assert not answer[(said == 0) & ~closed].any()


def check_box(prompts, answer):
    box = prompts[0].box_xyxy
    if box is None:
        return
    margin = [max(MARGIN_PIXELS, MARGIN_SHARE * (box[axis + 2] - box[axis])) for axis in (0, 1)]
    x, y = torch.arange(SIZE[1]) + 0.5, torch.arange(SIZE[0])[:, None] + 0.5
    far = (x < box[0] - margin[0]) | (x > box[2] + margin[0]) | (y < box[1] - margin[1]) | (y > box[3] + margin[1])
    numbers = ndimage.label(answer.numpy(), np.ones((3, 3)))[0]
    asked = {0}  # a mark farther away asks for its component
    for mark in prompts[1:]:
        if mark.inside:
            asked |= set(numbers[(mark.pixels(SIZE) & far).numpy()].tolist())
    assert set(numbers[far.numpy()].tolist()) <= asked


def check_changes(before, now, mark):
    numbers = ndimage.label((before | now).numpy(), np.ones((3, 3)))[0]
    about = set(np.unique(numbers[mark.pixels(SIZE).numpy()])) - {0}
    changed = (before != now).numpy()
    assert set(np.unique(numbers[changed])) <= about


def test_answers_respect_random_prompts(tmp_path):
    hold_the_laws(60, Mindless(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_answers_respect_a_thousand_random_prompts(tmp_path, name):
    torch.manual_seed(0)
    hold_the_laws(1000, MODELS[name](), tmp_path)


def test_answers_to_boxes_of_every_slice_stay_near_them():
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        corners = np.sort(rng.uniform([0, 0], SIZE[::-1], (2, 2)), 0).ravel() + np.array([0, 0, 1, 1])
        prompt = SlicePrompt(structure=0, slice=1, box_xyxy=tuple(corners.tolist()))
        boxes = ScanPrompts(prompts=[prompt], structures=[Structure(name="a", value=1)]).boxes(3)
        slabs = answer_boxes(image, Mindless(), boxes, batch_size=3, device=torch.device("cpu"))
        (logits,) = (slab.logits for slab in slabs)
        check_box([prompt], logits[0, 1] > 0)
        assert not (logits[0, [0, 2]] > 0).any()


def test_a_mark_may_change_the_whole_slice_where_it_is_asked_to(tmp_path):
    image = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    elsewhere = 0
    for seed in range(20):
        prompts = drawn_prompts(np.random.default_rng(seed))
        if len(prompts) < 2:
            continue
        before = answered(prompts[:-1], image, Mindless(), tmp_path, change="slice")
        now = answered(prompts, image, Mindless(), tmp_path, change="slice")
        check_marks(prompts, now)
        try:
            check_changes(before, now, prompts[-1])
        except AssertionError:
            elsewhere += 1
    assert elsewhere > 3
