"""Windows in proportion to the prompt: their sides by hand, what the model then sees, and how they grow."""

import pytest
import torch

from segfocal.inference.prompted.prompt_windows import windows_around
from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, ScanPrompts, SlicePrompt
from segfocal.inference.prompted.slice_boxes import answer_boxes
from segfocal.inference.prompted.zoom import grown, meets_border, seen_lines, side_for, zoom_of
from segfocal.models import PromptUNet
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect

SIZE = (60, 80)


def box(*corners):
    return torch.tensor(corners, dtype=torch.float32)


@pytest.mark.parametrize(
    ("region", "side"),
    [
        ((10.0, 10, 18, 14), 32),  # four times 8 is the model's own
        ((10.0, 10, 14, 14), 16),
        ((10.0, 10, 15, 14), 23),  # 20: between 16 and 32 lies 22.6
        ((10.0, 10, 11, 11), 4),  # eight times magnified, and no more
        ((0.0, 0, 30, 9), 80),  # 120 is more than the slice
    ],
)
def test_a_side_is_four_box_sides_up_to_the_next_step(region, side):
    assert side_for(box(*region), 4.0, own=SIDE, size=SIZE) == side
    assert side_for(box(*region), None, own=SIDE, size=SIZE) == SIDE
    assert side_for(torch.full((4,), torch.nan), 4.0, own=SIDE, size=SIZE) == SIDE


def test_sides_grow_to_the_whole_slice():
    assert [grown(side, SIZE) for side in (16, 32, 60, 80)] == [24, 48, 80, 80]
    assert grown(100, SIZE) == 100


def test_a_mask_meets_a_border_where_the_slice_goes_on():
    windows = windows_around(0, 0, box(10, 10, 14, 14), SIZE, 16)  # sees 4 to 20 in both
    for place, meets in (((4, 9), True), ((19, 9), True), ((9, 4), True), ((9, 19), True), ((5, 9), False)):
        mask = torch.zeros(SIZE, dtype=torch.bool)
        mask[place] = True
        assert meets_border(mask, windows) == meets
    corner = windows_around(0, 0, box(0, 0, 4, 4), SIZE, 16)
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[0, :9], mask[:9, 0] = True, True
    assert not meets_border(mask, corner)


def test_lines_are_seen_at_any_scale():
    drawn = torch.zeros(2, *SIZE)
    drawn[0, 12, 6:18] = 1
    for side in (8, 16, 48):
        (window,) = windows_around(0, 0, box(10, 10, 14, 14), SIZE, side)
        lines = seen_lines(drawn, [window], 16)
        assert lines.shape == (1, 2, 16, 16)
        assert lines[0, 0].any()
        assert not lines[0, 1].any()


def test_auto_is_for_the_model_to_say():
    assert zoom_of(PromptUNet(image_size=32, widths=(8, 16)), "auto") is None
    colours = Perfect()
    colours.channel_order = "rgb"
    assert zoom_of(colours, "auto") == 4.0
    assert zoom_of(colours, None) is None
    assert zoom_of(Perfect(), 3.0) == 3.0


def square():
    """Return an image [1,3,60,80] with a square of 4 on its middle slice."""
    image = torch.zeros(1, 3, *SIZE)
    image[0, 1, 20:24, 30:34] = 0.8
    return image


def answered(prompts, image, model, folder, **options):
    free = {"min_area_mm2": 0.0, "min_stability": 0.0, "max_intensity_change": 1.0, "reach_mm": 0.0}
    given = PropagatedPrompts(
        prompts=prompts, structures=[Structure(name="a", value=1)], spacing_mm=(1.0, 1.0, 1.0),
        session=folder / "answers", embeddings=folder / "embeddings", options=PropagationOptions(**free | options),
    )  # fmt: skip
    with torch.no_grad():
        (slab,) = propagate(given, image, model, device=torch.device("cpu"), batch_size=3)
    return slab.logits[0] > 0


def test_a_small_target_is_seen_larger_and_the_answer_lies_where_it_was(tmp_path):
    model = Perfect()
    prompt = SlicePrompt(structure=0, slice=1, box_xyxy=(30.0, 20.0, 34.0, 24.0))
    answer = answered([prompt], square(), model, tmp_path, zoom=4.0)
    (asked,) = model.asked
    width = (asked["boxes_xyxy"][2] - asked["boxes_xyxy"][0]).item()
    assert width == 8  # of 4 pixels, in a window of 16 that is seen at 32
    assert torch.equal(answer[1], square()[0, 1] > 0)


def test_a_click_is_scaled_with_its_window(tmp_path):
    model = Perfect()
    prompts = [
        SlicePrompt(structure=0, slice=1, box_xyxy=(30.0, 20.0, 34.0, 24.0)),
        SlicePrompt(structure=0, slice=1, point_xy=(33.0, 22.0)),
    ]
    answered(prompts, square(), model, tmp_path, zoom=4.0)
    asked = model.asked[-1]
    x0, y0 = asked["boxes_xyxy"][:2].tolist()
    x, y = asked["points_xy"][-1].tolist()
    assert (x - x0, y - y0) == (3.5 * 2 - 0.5, 2.5 * 2 - 0.5)


def test_a_window_grows_while_the_mask_of_a_click_meets_its_border(tmp_path):
    image = torch.zeros(1, 3, *SIZE)
    image[0, 1, 20:30, 6:66] = 0.8  # longer than the model's window
    click = SlicePrompt(structure=0, slice=1, point_xy=(30.0, 25.0))
    assert answered([click], image, Perfect(), tmp_path / "near")[1, 25].sum() == SIDE
    grown_answer = answered([click], image, Perfect(), tmp_path / "grown", zoom=4.0)
    assert grown_answer[1, 25].sum() == pytest.approx(60, abs=2)  # bilinear, at 2.25 pixels a pixel


def test_boxes_on_every_slice_are_zoomed_too():
    model, prompt = Perfect(), SlicePrompt(structure=0, slice=1, box_xyxy=(30.0, 20.0, 34.0, 24.0))
    boxes = ScanPrompts(prompts=[prompt], structures=[Structure(name="a", value=1)]).boxes(3)
    (slab,) = answer_boxes(square(), model, boxes, batch_size=3, device=torch.device("cpu"), zoom=4.0)
    assert torch.equal(slab.logits[0] > 0, square()[0] > 0)
    (asked,) = model.asked
    assert (asked["boxes_xyxy"][2] - asked["boxes_xyxy"][0]).item() == 8


@pytest.mark.parametrize("zoom", [0.5, True, "twice", float("nan"), 1e9])
def test_a_zoom_out_of_range_is_named(zoom):
    with pytest.raises(ValueError, match=r"propagate\.zoom from 1 to 100"):
        PropagationOptions(zoom=zoom)
