"""A very small SAM-Med2D with random weights, run by its own code: our model with those weights gives its numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.models.sam.architecture import Architecture, build_sam
from segfocal.models.sam.families import SAM_MED2D
from segfocal.models.sam.sam_options import SamOptions
from segfocal.prompts import Prompt
from tests import ROOT

FOLDER = ROOT / "tests" / "reference"
TINY = Architecture(
    width=32,
    depth=2,
    heads=2,
    global_blocks=(1,),
    window=3,
    decoder_width=32,
    decoder_heads=2,
    decoder_mlp=64,
    mask_channels=4,
    iou_width=32,
)
# the recorded images are standardised already, their mask prompts went in as they are
RAW = replace(SAM_MED2D, pixel_mean=0.0, pixel_std=1.0, channel_order="rgb", mask_probabilities=False)
PROMPTS = ("points", "box", "points_box", "mask", "points_mask", "none")


@pytest.fixture(scope="module", params=["adapter", "plain"])
def recorded(request):
    """The recorded arrays as tensors, and the model with their weights."""
    with np.load(FOLDER / f"sammed2d_tiny_{request.param}.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    adapter = "sam_med2d" if request.param == "adapter" else "none"
    model = build_sam(TINY, SamOptions.of(RAW, image_size=64, adapter=adapter))
    weights = {name.removeprefix("state/"): array for name, array in arrays.items() if name.startswith("state/")}
    model.load_state_dict(weights)  # strict: the names are SAM-Med2D's, all of them and no others
    return arrays, model.eval()


def prompt_of(arrays, kinds):
    """Return the recorded prompts of these kinds, the others absent."""
    prompt = Prompt.none(2, device=torch.device("cpu"))
    if "points" in kinds:
        for i in range(arrays["points_xy"].shape[1]):
            prompt = prompt.with_clicks(arrays["points_xy"][:, i], arrays["point_labels"][:, i].long())
    if "box" in kinds:
        prompt = prompt.with_boxes(arrays["boxes_xyxy"])
    if "mask" in kinds:
        prompt = prompt.with_mask(arrays["mask_input"])
    return prompt


def assert_same(ours, theirs):
    """1e-4 of the largest value: the fused kernels add up in another order."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * theirs.abs().max().item())


@torch.no_grad()
def test_image_embedding_is_theirs(recorded):
    arrays, model = recorded
    assert_same(model.encode(arrays["image"]).tokens, arrays["image_embedding"])


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kinds", PROMPTS)
def test_answer_to_every_mixture_of_prompts_is_theirs(recorded, kinds, multimask):
    arrays, model = recorded
    answer = model.decode(model.encode(arrays["image"]), prompt_of(arrays, kinds.split("_")), multimask=multimask)
    name = f"{kinds}.{'multi' if multimask else 'single'}"
    assert_same(answer.low_res_logits, arrays[f"{name}.low_res_logits"])
    assert_same(answer.predicted_iou, arrays[f"{name}.iou"])


def mixed(arrays, choice):
    """Return six prompts, three an image, each of another kind of `PROMPTS`; `choice` asks for only one of them."""
    rows = []
    for n, kinds in enumerate(PROMPTS):
        prompt = prompt_of(arrays, kinds.split("_"))
        rows.append((prompt, n // 3))
    clicks = max(prompt.points_xy.shape[1] for prompt, _ in rows)
    points, labels = torch.zeros(6, clicks, 2), torch.full((6, clicks), -1)
    boxes, masks = torch.full((6, 4), torch.nan), torch.zeros(6, 1, 16, 16)
    has_mask = torch.zeros(6, dtype=torch.bool)
    for n, (prompt, image) in enumerate(rows):
        count = prompt.points_xy.shape[1]
        points[n, :count], labels[n, :count] = prompt.points_xy[image], prompt.point_labels[image]
        boxes[n] = prompt.boxes_xyxy[image]
        if prompt.mask_logits is not None:
            masks[n], has_mask[n] = prompt.mask_logits[image], True
    kept = slice(None) if choice is None else slice(choice, choice + 1)
    return Prompt(
        points_xy=points[kept],
        point_labels=labels[kept],
        boxes_xyxy=boxes[kept],
        mask_logits=masks[kept],
        has_mask=has_mask[kept],
    )


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
def test_prompts_of_all_kinds_in_one_batch_are_answered_as_theirs_alone(recorded, multimask):
    arrays, model = recorded
    answer = model.decode(model.encode(arrays["image"]), mixed(arrays, None), multimask=multimask)
    for n, kinds in enumerate(PROMPTS):
        name = f"{kinds}.{'multi' if multimask else 'single'}"
        assert_same(answer.low_res_logits[n], arrays[f"{name}.low_res_logits"][n // 3])
        assert_same(answer.predicted_iou[n], arrays[f"{name}.iou"][n // 3])
