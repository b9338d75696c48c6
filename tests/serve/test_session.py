"""A session answers as `predict prompts=` does, takes back and does again, and is the same after the process died."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from segfocal.grid import Grid, Volume
from segfocal.inference.postprocess import PostprocessRules
from segfocal.inference.segment import segment_with
from segfocal.io import volumes
from segfocal.predict.options import PromptOptions
from segfocal.predict.prompts import prompts_of_scan
from segfocal.resample import ModelGrid
from segfocal.serve.refusal import Refused
from tests.inference.perfect import PerfectOfVolumes
from tests.serve.served import AFFINE, FREE, LIVER, SHAPE, SPLEEN, make_scans, opened, perfect_predictor, wedge, world

GRID = Grid(shape=SHAPE, affine=AFFINE)


@pytest.fixture
def session(tmp_path):
    make_scans(tmp_path, "one")
    return opened(tmp_path)


def predicted(file, *, reach_mm=None, predictor=None):
    """Return what `predict prompts=` answers to a file of prompts."""
    predictor = predictor or perfect_predictor()
    options = PromptOptions(file=file, propagation=replace(FREE, reach_mm=reach_mm))
    scan = Volume(array=wedge(), grid=GRID)
    with torch.no_grad(), prompts_of_scan(options, GRID, predictor.bundle) as prompts:
        return segment_with(predictor, scan, prompts=prompts).array


def prompts_file(session):
    file = session.folder / "prompts.json"
    file.write_text(json.dumps(session.prompts()))
    return file


def slices_of(mask, value):
    return np.flatnonzero((mask == value).any((0, 1))).tolist()


def test_a_click_answers_its_slice_and_says_what_changed(session):
    change = session.add_prompt("point", "liver", [LIVER])
    mask = session.mask()
    assert slices_of(mask, 5) == [3]
    assert (mask[9, 7, 3], mask[9, 7, 4]) == (5, 0)
    places = np.argwhere(mask)
    assert change.box == (tuple(places.min(0)), tuple(places.max(0) + 1))
    assert (change.revision, session.revision) == (1, 1)


def test_a_carried_mask_is_that_of_predict(session, tmp_path):
    session.add_prompt("box", "liver", [world(2, 1, 3), world(17, 14, 3)])
    session.add_prompt("point", "spleen", [SPLEEN])
    session.carry()
    assert np.array_equal(session.mask(), predicted(prompts_file(session)))
    assert slices_of(session.mask(), 5) == list(range(1, 8))
    assert slices_of(session.mask(), 1) == list(range(2, 6))


@pytest.mark.parametrize("reach_mm", [0, 4.5])
def test_a_mask_carried_so_far_is_that_of_predict_so_far(session, tmp_path, reach_mm):
    session.add_prompt("scribble", "liver", [LIVER, world(11, 9, 3)])
    session.carry(reach_mm)
    assert np.array_equal(session.mask(), predicted(prompts_file(session), reach_mm=reach_mm))
    assert slices_of(session.mask(), 5) == ([3] if reach_mm == 0 else [2, 3, 4])


def test_clicks_after_a_carry_change_their_slice_and_the_next_carry_all(session, tmp_path):
    session.add_prompt("point", "liver", [LIVER])
    session.carry()
    session.add_prompt("point", "liver", [world(9, 7, 5)], positive=False)
    assert session.standing.pending
    assert slices_of(session.mask(), 5) == [1, 2, 3, 4, 6, 7]
    session.carry()
    assert not session.standing.pending
    assert np.array_equal(session.mask(), predicted(prompts_file(session)))


def test_undo_takes_each_action_back_and_redo_does_it_again(session):
    steps = [
        lambda: session.add_prompt("point", "liver", [LIVER]),
        lambda: session.add_stroke("spleen", [world(1, 1, 3)], radius_mm=4.0, plane="axial"),
        lambda: session.carry(),
        lambda: session.add_absence("liver", world(9, 7, 6)),
        lambda: session.reset("liver"),
    ]
    masks = [session.mask()]
    for step in steps:
        step()
        masks.append(session.mask())
    assert all(not np.array_equal(a, b) for a, b in pairwise(masks))
    for mask in masks[-2::-1]:
        session.undo()
        assert np.array_equal(session.mask(), mask)
    for mask in masks[1:]:
        session.redo()
        assert np.array_equal(session.mask(), mask)
    with pytest.raises(Refused, match="something to redo"):
        session.redo()


def test_an_action_after_undo_takes_the_place_of_what_was_undone(session):
    session.add_prompt("point", "liver", [LIVER])
    session.undo()
    session.add_prompt("point", "spleen", [SPLEEN])
    assert set(np.unique(session.mask())) == {0, 1}
    assert len(session.history.actions) == 1


def test_a_session_is_the_same_when_another_process_reads_it(session, tmp_path):
    session.add_prompt("point", "liver", [LIVER])
    session.carry()
    session.add_stroke(None, [world(9, 7, 3), world(9, 9, 3)], radius_mm=5.0, plane="axial")
    session.add_prompt("point", "liver", [world(9, 7, 5)], positive=False)
    session.undo()
    again = opened(tmp_path)
    assert (again.id, again.revision) == (session.id, session.revision)
    assert np.array_equal(again.mask(), session.mask())
    again.redo()
    session.redo()
    assert np.array_equal(again.mask(), session.mask())


def test_what_was_answered_is_not_asked_again(session, tmp_path):
    session.add_prompt("point", "liver", [LIVER])
    session.carry()
    again = opened(tmp_path)
    again.mask()
    assert again.predictor.bundle.model.asked == []


def test_a_prompt_is_on_disk_before_it_is_answered(session, monkeypatch):
    seen = []
    session.prepare()
    update = session._mask.update

    def looked(*arguments):
        seen.append(json.loads((session.folder / "state.json").read_text())["done"])
        return update(*arguments)

    monkeypatch.setattr(session._mask, "update", looked)
    session.add_prompt("point", "liver", [LIVER])
    assert seen == [1]


def test_what_cannot_be_answered_never_was(session, monkeypatch):
    session.add_prompt("point", "liver", [LIVER])
    before, mask = session.history, session.mask()
    monkeypatch.setattr(session.progress, "step", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        session.carry()
    assert (session.history, session.revision) == (before, 1)
    assert np.array_equal(session.mask(), mask)
    assert json.loads((session.folder / "state.json").read_text())["done"] == 1


def test_the_box_since_a_revision_holds_all_changes_after_it(session):
    first = session.add_prompt("point", "liver", [LIVER])
    second = session.add_prompt("point", "spleen", [SPLEEN])
    assert session.box_since(1) == second.box
    low = tuple(map(min, first.box[0], second.box[0]))
    assert session.box_since(0) == (low, tuple(map(max, first.box[1], second.box[1])))
    assert session.box_since(2) is None
    assert session.box_since(99) == ((0, 0, 0), SHAPE)


def test_a_mask_as_prompt_is_kept_where_it_marks_and_begins_the_structure_anew(session, tmp_path):
    session.add_prompt("point", "liver", [world(9, 7, 6)])
    drawn = np.zeros(SHAPE, dtype=bool)
    drawn[5:14, 4:11, 3] = True
    session.add_mask("liver", drawn)
    mask = session.mask()
    assert slices_of(mask, 5) == [3]
    assert ((mask == 5) & drawn).sum() >= 0.95 * drawn.sum()
    session.carry()
    assert np.array_equal(session.mask(), predicted(prompts_file(session)))


def test_a_stroke_lies_over_the_answer_and_stays_there(session):
    session.add_prompt("point", "liver", [LIVER])
    session.add_stroke(None, [LIVER], radius_mm=0.5, plane="axial")
    assert session.mask()[9, 7, 3] == 0
    session.carry()
    mask = session.mask()
    assert (mask[9, 7, 3], mask[9, 7, 4], mask[10, 7, 3]) == (0, 5, 5)


def test_the_whole_scan_without_a_prompt_is_corrected_by_a_click(tmp_path):
    make_scans(tmp_path, "one")

    class Knowing(type(perfect_predictor().bundle.model)):
        def forward(self, image):
            logits = torch.where(image[:, :1] > 0.25, 8.0, -8.0)
            return torch.cat([logits, torch.full_like(logits, -8.0)], 1)

    predictor = perfect_predictor(model=Knowing().eval(), needs_prompts=False)
    session = opened(tmp_path, predictor=predictor)
    session.predict()
    assert slices_of(session.mask(), 5) == list(range(1, 8))
    session.add_prompt("point", "liver", [world(20, 15, 4)], positive=False)
    mask = session.mask()
    assert (mask[20, 15, 4], mask[20, 15, 3], mask[9, 7, 4]) == (0, 5, 5)


def test_a_saved_mask_has_the_place_of_its_scan(session, tmp_path):
    session.add_prompt("point", "liver", [LIVER])
    session.carry()
    files = session.save(tmp_path / "corrected")
    saved = volumes.read_labels(files.mask)
    assert np.array_equal(saved.array, session.mask())
    assert saved.grid.difference(GRID) is None
    assert np.array_equal(predicted(files.prompts), saved.array)
    assert session.history.saved_revision == session.revision


def test_saving_answers_first_what_waits(session, tmp_path):
    session.add_prompt("point", "liver", [LIVER])
    session.carry()
    session.add_prompt("point", "spleen", [SPLEEN])
    files = session.save(tmp_path / "corrected")
    assert slices_of(volumes.read_labels(files.mask).array, 1) == list(range(2, 6))
    assert np.array_equal(predicted(files.prompts), volumes.read_labels(files.mask).array)


def test_a_model_that_no_prompt_reaches_predicts_and_is_painted_over(tmp_path):
    make_scans(tmp_path, "one")

    class Bright(torch.nn.Module):
        def forward(self, image):
            logits = torch.where(image[:, :1] > 0.25, 8.0, -8.0)
            return torch.cat([logits, torch.full_like(logits, -8.0)], 1)

    session = opened(tmp_path, predictor=perfect_predictor(model=Bright().eval(), needs_prompts=False))
    with pytest.raises(Refused, match="a bundle of a promptable model") as refused:
        session.add_prompt("point", "liver", [LIVER])
    assert refused.value.status == 422
    session.predict()
    mask = session.mask()
    assert slices_of(mask, 5) == list(range(1, 8))
    session.add_stroke("spleen", [SPLEEN], radius_mm=3.0)
    assert session.mask()[20, 15, 4] == 1
    assert np.array_equal(opened(tmp_path, predictor=session.predictor).mask(), session.mask())
    session.undo()
    assert np.array_equal(session.mask(), mask)
    session.undo()
    assert not session.mask().any()


def test_rules_of_the_bundle_count_in_the_mask_as_in_predict(tmp_path):
    make_scans(tmp_path, "one")
    predictor = perfect_predictor(postprocess={"liver": PostprocessRules(largest=True)})
    session = opened(tmp_path, predictor=predictor)
    session.add_prompt("point", "liver", [LIVER])
    session.add_prompt("point", "liver", [SPLEEN])
    session.carry()
    mask = session.mask()
    assert (mask[9, 7, 3], mask[20, 15, 4]) == (5, 0)
    session.undo()
    session.undo()
    assert session.mask()[20, 15, 4] == 0


def of_volumes():
    """Return a predictor of a model of volumes, on whose grid there are other slices than the scan's."""
    window = (8, 32, 32)
    return perfect_predictor(
        model=PerfectOfVolumes(window).eval(), window=window, grid=ModelGrid(spacing_mm=(2.0, 1.5, 1.5))
    )


def test_a_model_of_volumes_answers_all_of_the_scan_at_every_click_as_predict_does(tmp_path):
    make_scans(tmp_path, "one")
    session = opened(tmp_path, predictor=of_volumes())
    session.add_prompt("point", "liver", [LIVER])
    assert slices_of(session.mask(), 5) == list(range(1, 8))
    assert not session.standing.pending
    first = session.mask()
    session.add_prompt("point", "spleen", [SPLEEN])
    session.add_absence("liver", world(9, 7, 6))
    mask = session.mask()
    assert slices_of(mask, 1) == list(range(2, 6))
    assert slices_of(mask, 5) == [1, 2, 3, 4, 5]
    assert np.array_equal(mask, predicted(prompts_file(session), predictor=of_volumes()))
    session.undo()
    session.undo()
    assert np.array_equal(session.mask(), first)
