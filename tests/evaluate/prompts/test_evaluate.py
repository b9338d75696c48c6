"""Prompts asked and scored: answers that are known in advance get the scores they deserve, whatever the batches."""

import json
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from segfocal.data.store.prepare import prepare
from segfocal.errors import UserError
from segfocal.evaluate.prompts.evaluate import evaluate_prompts
from segfocal.structure import Structure
from tests.evaluate.prompts.clicker import BALL, ROD, SIDE, Clicker, evaluated, evaluation, tiny
from tests.scans import make_scan

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


# What is left out


def test_no_prompt_is_left_out_for_what_the_model_does_not_segment_unprompted(data, tmp_path):
    for knows, asked in (([], set()), (["ball"], {"ball"}), (None, {"ball", "rod"})):
        folder = tmp_path / str(knows)
        summaries, notes = evaluate_prompts(evaluation(data, folder, prompts=["none", "box"], unprompted=knows))
        assert {s.structure for s in summaries if s.prompt == "none"} - {"mean"} == asked
        assert {s.structure for s in summaries if s.prompt == "box"} == {"ball", "rod", "mean"}
        assert bool(notes) == (asked != {"ball", "rod"})
        assert json.loads((folder / "summary.json").read_text())["left_out"] == notes
    with pytest.raises(UserError, match="trained with prompts only"):
        evaluate_prompts(evaluation(data, tmp_path / "x", prompts=["none"], unprompted=[]))


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
    one = evaluation(data, tmp_path, prompts=["box"])
    evaluate_prompts(one)
    with pytest.raises(UserError, match="overwrite=true"):
        evaluate_prompts(one)
    evaluate_prompts(replace(one, overwrite=True))


def test_prepared_slices_are_those_of_training(data, tmp_path):
    one = evaluation(data, tmp_path / "out", prompts=["box"], cases=["one"])
    evaluate_prompts(replace(one, cache=tmp_path / "cache"))
    (ready,) = prepare(one.cases, one.preparation, tmp_path / "cache")
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == [ready.folder.name]
