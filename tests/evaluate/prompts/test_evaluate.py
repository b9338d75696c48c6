"""The prompt protocol: answers that are known in advance get the scores they deserve, whatever the batches."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.data.cases import read_cases
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.evaluate.prompts import summary as prompt_summary
from segfocal.evaluate.prompts.evaluate import PromptEvaluation, evaluate_prompts
from segfocal.evaluate.prompts.protocol import Protocol
from segfocal.intensity import Window
from segfocal.models import Answer, PromptableModel, sam_tiny
from segfocal.models.sam.parts import Embedding
from segfocal.report.plots import click_curves
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import affine_of, make_scan

SIDE = 24
BALL, ROD = Structure(name="ball", value=1), Structure(name="rod", value=7)


class Clicker(PromptableModel):
    """Answers with the pixels that were clicked as inside; a box with the target in it, no prompt with everything.

    The image shows the targets. With a mask prompt, an answer is that mask and the last click.
    """

    def __init__(self, side=SIDE):
        nn.Module.__init__(self)
        self.image_size, self.image_encoder, self.encoded = side, nn.Identity(), 0

    def encode(self, image):
        self.encoded += len(image)
        return Embedding(tokens=image)

    def answer(self, embedding, prompt):
        image = embedding.tokens.repeat_interleave(len(prompt) // len(embedding.tokens), 0)
        mask = torch.zeros(len(prompt), *image.shape[2:], dtype=torch.bool)
        for row, out in enumerate(mask):
            clicks = prompt.points_xy[row][prompt.point_labels[row] > 0].long().tolist()
            box = prompt.boxes_xyxy[row]
            if torch.isfinite(box).all():
                x0, y0, x1, y1 = box.round().long().tolist()
                out[y0:y1, x0:x1] = image[row, 0, y0:y1, x0:x1] > 0.5
            elif not clicks:
                out[:] = True
            elif prompt.has_mask[row]:
                out |= prompt.mask_logits[row, 0] > 0
            for x, y in clicks[-1:]:
                out[y, x] = True
        logits = torch.where(mask, 5.0, -5.0)[:, None]
        return Answer(logits, logits, torch.zeros(len(mask), 1))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two cases of 5 slices of 22×20 pixels, a square "ball" and a "rod" in some; the image is bright inside them."""
    root = tmp_path_factory.mktemp("data")
    rows = ["name,image,label,split"]
    for number, name in enumerate(["one", "two"]):
        labels = np.zeros((20, 22, 5), dtype=np.uint8)
        labels[3:9, 4 + number : 11, 1:4] = BALL.value
        if number == 0:
            labels[12:14, 5:12, 2:5] = ROD.value
        affine = affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS")
        image = make_scan(root / f"{name}.nii.gz", (labels > 0) * np.int16(100), affine)
        label = make_scan(root / f"{name}_label.nii.gz", labels, affine)
        rows.append(f"{name},{image},{label},val")
    (root / "cases.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Leave the pictures out, which take longer than all the rest."""
    monkeypatch.setattr(prompt_summary, "click_curves", lambda *_, **__: None)


def evaluation(data, output, model=None, **options):
    own = {"structures": (BALL, ROD), "spacing_mm": None, "cases": None} | options
    protocol = {name: own.pop(name) for name in list(own) if name in Protocol.__dataclass_fields__}
    preparation = Preparation(
        grid=ModelGrid(spacing_mm=own.pop("spacing_mm")),
        intensity=Window(lower=0.0, upper=100.0),
        structures=own.pop("structures"),
    )
    chosen = own.pop("cases")
    cases = [case for case in read_cases(data / "cases.csv").cases if chosen is None or case.name in chosen]
    return PromptEvaluation(
        model=model or Clicker(),
        preparation=preparation,
        cases=cases,
        protocol=Protocol(**protocol),
        output=output,
        cache=data / "prepared",
        device="cpu",
        **own,
    )


def evaluated(data, output, model=None, **options):
    """Evaluate and return the scores as read from the file, numbers as numbers."""
    evaluate_prompts(evaluation(data, output, model, **options))
    with (output / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {name: float(row[name]) for name in ("slice", "pixels", "dice", "iou")} for row in rows]


def tiny(side=SIDE):
    torch.manual_seed(0)
    return sam_tiny(image_size=side, width=48, depth=1, decoder_width=32)


# What is scored


def test_an_answer_of_one_pixel_a_click_gets_the_dice_of_so_many_pixels(data, tmp_path):
    for row in evaluated(data, tmp_path, prompts=[1, 2, 5]):
        clicks, pixels = int(row["prompt"]), row["pixels"]
        assert row["dice"] == pytest.approx(2 * clicks / (clicks + pixels))
        assert row["iou"] == pytest.approx(clicks / pixels)


def test_without_mask_prompts_the_answer_before_is_forgotten(data, tmp_path):
    for row in evaluated(data, tmp_path, prompts=[1, 4], mask_prompt=False):
        assert row["dice"] == pytest.approx(2 / (1 + row["pixels"]))


@pytest.mark.parametrize("first_click", ["uniform", "central"])
@pytest.mark.parametrize("click_at", ["uniform", "largest"])
def test_as_many_clicks_as_pixels_fill_the_target(data, tmp_path, first_click, click_at):
    rows = evaluated(data, tmp_path, structures=(ROD,), prompts=[1, 14, 16], first_click=first_click, click_at=click_at)
    assert {row["pixels"] for row in rows} == {14}
    assert [row["dice"] for row in rows if row["prompt"] != "1"] == [1.0] * 6


def test_boxes_hold_the_target_and_no_prompt_gets_the_whole_window(data, tmp_path):
    rows = evaluated(data, tmp_path, prompts=["none", "box"])
    assert {row["dice"] for row in rows if row["prompt"] == "box"} == {1.0}
    for row in rows:
        if row["prompt"] == "none":
            assert row["iou"] == pytest.approx(row["pixels"] / SIDE**2)


def test_jittered_boxes_miss_a_part(data, tmp_path):
    rows = evaluated(data, tmp_path, prompts=["box"], box_jitter_pixels=3.0)
    assert 0.5 < np.mean([row["dice"] for row in rows]) < 0.98


def test_every_slice_that_holds_enough_of_a_structure_is_scored(data, tmp_path):
    for least, expected in ((1, [("ball", 6), ("rod", 3)]), (40, [("ball", 3)])):
        names = [name for name, _ in expected]
        structures = tuple(s for s in (BALL, ROD) if s.name in names)
        rows = evaluated(data, tmp_path / str(least), structures=structures, prompts=["box"], min_pixels=least)
        assert [(name, sum(row["structure"] == name for row in rows)) for name in names] == expected


def test_a_slice_is_encoded_once_for_all_structures_and_prompts(data, tmp_path):
    model = Clicker()
    evaluated(data, tmp_path, model, prompts=["none", "box", 1, 3])
    assert model.encoded == 7  # slices 1 to 4 of one case, 1 to 3 of the other


def test_a_slice_larger_than_the_window_is_cut_around_each_target(data, tmp_path):
    model = Clicker(side=16)
    rows = evaluated(data, tmp_path, model, prompts=["box"])
    assert {row["dice"] for row in rows} == {1.0}
    assert {row["pixels"] for row in rows} == {42, 36, 14}  # whole targets
    assert model.encoded == 9  # one view a structure


def test_parts_farther_apart_than_the_window_is_wide_still_leave_a_target(tmp_path):
    labels = np.zeros((60, 60, 1), dtype=np.uint8)
    labels[2:5, 2:5], labels[56:59, 50:54] = 1, 1
    image = make_scan(tmp_path / "a.nii.gz", labels * np.int16(100), np.eye(4))
    label = make_scan(tmp_path / "b.nii.gz", labels, np.eye(4))
    (tmp_path / "cases.csv").write_text(f"name,image,label,split\none,{image},{label},val\n")
    (row,) = evaluated(tmp_path, tmp_path / "out", structures=(BALL,), prompts=["box"])
    assert row["dice"] == 1.0
    assert row["pixels"] in (9, 12)


# What chance decides


def test_the_same_seed_gives_the_same_file_and_another_one_another(data, tmp_path):
    options = {"model": tiny(), "prompts": ["none", "box", 1, 3], "box_jitter_pixels": 2.0}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        evaluated(data, tmp_path / name, seed=seed, **options)
    first, again, other = ((tmp_path / name / "scores.csv").read_text() for name in ("first", "again", "other"))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("model", "tolerance"), [(Clicker, 0.0), (tiny, 0.02)])  # other sums may turn a pixel
def test_scores_do_not_depend_on_the_batches(data, tmp_path, model, tolerance):
    options = {"model": model(), "prompts": ["none", "box", 1, 4], "box_jitter_pixels": 2.0}
    expected = evaluated(data, tmp_path / "8", batch_size=8, **options)
    for batch_size in (1, 3, 64):
        rows = evaluated(data, tmp_path / str(batch_size), batch_size=batch_size, **options)
        for one, other in zip(rows, expected, strict=True):
            assert {**one, "dice": 0, "iou": 0} == {**other, "dice": 0, "iou": 0}
            assert one["dice"] == pytest.approx(other["dice"], abs=tolerance)


def test_a_prompt_does_not_depend_on_what_else_is_asked(data, tmp_path):
    model = tiny()
    everything = evaluated(data, tmp_path / "a", model, prompts=["none", "box", 1, 3, 5], box_jitter_pixels=2.0)
    alone = {"structures": (BALL,), "cases": ["two"], "box_jitter_pixels": 2.0}
    for prompt in ("box", 1, 3):
        rows = evaluated(data, tmp_path / str(prompt), model, prompts=prompt, batch_size=1, **alone)
        expected = [r for r in everything if r["case"] == "two" and r["prompt"] == str(prompt)]
        assert len(rows) == len(expected) == 3
        for one, other in zip(rows, expected, strict=True):
            assert one["dice"] == pytest.approx(other["dice"], abs=0.02)


def test_embeddings_from_disk_give_the_same_scores_but_for_float16(data, tmp_path):
    options = {"prompts": ["box", 1, 3], "model": tiny()}
    plain = evaluated(data, tmp_path / "a", **options)
    for name in ("b", "c"):  # made, then found
        kept = evaluated(data, tmp_path / name, embeddings=tmp_path / "embeddings", **options)
        differences = [abs(one["dice"] - other["dice"]) for one, other in zip(kept, plain, strict=True)]
        assert np.median(differences) < 0.01
    assert len(list((tmp_path / "embeddings").rglob("*.safetensors"))) == 4  # different slices


# What is written


def test_means_go_over_slices_then_cases_then_structures(data, tmp_path):
    rows = evaluated(data, tmp_path, prompts=["box", 1])
    summary = json.loads((tmp_path / "summary.json").read_text())
    figures = {(row["case"], row["structure"], row["prompt"]): row for row in summary["scores"]}

    def mean(case, structure):
        return np.mean([r["dice"] for r in rows if (r["case"], r["structure"], r["prompt"]) == (case, structure, "1")])

    ball = (mean("one", "ball") + mean("two", "ball")) / 2
    assert figures["one", "ball", "1"]["dice"] == pytest.approx(mean("one", "ball"))
    assert figures["all", "ball", "1"]["dice"] == pytest.approx(ball)
    assert figures["all", "mean", "1"]["dice"] == pytest.approx((ball + mean("one", "rod")) / 2)
    whole, single = figures["all", "ball", "1"], figures["all", "rod", "1"]
    assert (whole["cases"], whole["slices"], whole["over"]) == (2, 6, "cases")
    assert (single["cases"], single["slices"], single["over"]) == (1, 3, "slices")
    assert whole["dice_low"] <= whole["dice"] <= whole["dice_high"]
    assert (single["dice_low"], single["dice_high"]) == pytest.approx((single["dice"],) * 2)  # all rods are alike
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(summary["scores"])


def test_the_curves_are_those_of_the_table(data, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        prompt_summary, "click_curves", lambda path, curves, **lines: drawn.update(lines, curves=curves, path=path)
    )
    rows, _ = evaluate_prompts(evaluation(data, tmp_path, prompts=["none", "box", 1, 3]))
    dice = {(row["structure"], row["prompt"]): row["dice"] for row in rows}
    names = ["ball", "rod", "mean"]
    assert drawn["curves"] == {name: ([1, 3], [dice[name, "1"], dice[name, "3"]]) for name in names}
    assert drawn["boxes"] == {name: dice[name, "box"] for name in names}
    assert drawn["unasked"] == {name: dice[name, "none"] for name in names}
    monkeypatch.undo()
    click_curves(drawn["path"], drawn["curves"], boxes=drawn["boxes"], unasked=drawn["unasked"])
    assert (tmp_path / "clicks.png").read_bytes().startswith(b"\x89PNG")


def test_no_prompt_is_left_out_for_what_the_model_does_not_segment_unasked(data, tmp_path):
    for knows, asked in (([], set()), (["ball"], {"ball"}), (None, {"ball", "rod"})):
        folder = tmp_path / str(knows)
        rows, left_out = evaluate_prompts(evaluation(data, folder, prompts=["none", "box"], unasked=knows))
        assert {r["structure"] for r in rows if r["prompt"] == "none"} - {"mean"} == asked
        assert {r["structure"] for r in rows if r["prompt"] == "box"} == {"ball", "rod", "mean"}
        assert bool(left_out) == (asked != {"ball", "rod"})
        assert json.loads((folder / "summary.json").read_text())["left_out"] == left_out
    with pytest.raises(UserError, match="trained with prompts only"):
        evaluate_prompts(evaluation(data, tmp_path / "x", prompts=["none"], unasked=[]))


# What is refused


def test_a_model_without_prompts_is_refused(data, tmp_path):
    with pytest.raises(UserError, match=r"expected a promptable model.*found Identity"):
        evaluate_prompts(evaluation(data, tmp_path, nn.Identity()))


def test_a_structure_in_no_slice_is_told_with_the_values_there_are(data, tmp_path):
    gone = Structure(name="gone", value=9)
    with pytest.raises(UserError, match=r"gone \(label value 9\).*none in one, two; label values \[0, 1, 7\]"):
        evaluate_prompts(evaluation(data, tmp_path, structures=(BALL, gone)))
    with pytest.raises(UserError, match="with 1000 pixels in some slice"):
        evaluate_prompts(evaluation(data, tmp_path, min_pixels=1000))


def test_results_are_replaced_only_on_request(data, tmp_path):
    job = evaluation(data, tmp_path, prompts=["box"])
    evaluate_prompts(job)
    with pytest.raises(UserError, match="overwrite=true"):
        evaluate_prompts(job)
    evaluate_prompts(replace(job, overwrite=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompts": []}, "prompts none, box"),
        ({"prompts": ["boxes"]}, "prompts none, box"),
        ({"prompts": ["box", "box"]}, "each once"),
        ({"prompts": [0]}, "clicks ≥ 1"),
        ({"prompts": [True]}, "clicks ≥ 1"),
        ({"first_click": "middle"}, "first_click uniform or central"),
        ({"click_at": "random"}, "click_at uniform or largest"),
        ({"mask_prompt": "yes"}, "mask_prompt true or false"),
        ({"box_jitter_pixels": -1}, "box_jitter_pixels ≥ 0"),
        ({"min_pixels": 0}, "min_pixels a whole number ≥ 1"),
        ({"seed": -1}, "seed a whole number ≥ 0"),
    ],
)
def test_a_protocol_out_of_range_is_told(options, words):
    with pytest.raises(ValueError, match=words):
        Protocol(**options)


def test_prepared_slices_are_those_of_training(data, tmp_path):
    job = evaluation(data, tmp_path / "out", prompts=["box"], cases=["one"])
    evaluate_prompts(replace(job, cache=tmp_path / "cache"))
    (ready,) = prepare(job.cases, job.preparation, tmp_path / "cache")
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == [ready.folder.name]
