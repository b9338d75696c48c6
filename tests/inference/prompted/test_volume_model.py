"""Prompts about a volume: one answer for all of it, followed beyond the window, and true of all that was said."""

from dataclasses import replace

import pytest
import torch

from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.ready_volume import VolumeStore, answer_boxes_of_volume
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, ScanPrompts, SlicePrompt
from segfocal.inference.prompted.volume_model import VolumeModel
from segfocal.inference.prompted.volume_prompt import VolumePrompt, objects_of
from segfocal.models import PromptUNet
from segfocal.structure import Structure
from tests.inference.perfect import PerfectOfVolumes

SHAPE = (20, 50, 60)


@pytest.fixture
def answered(tmp_path):
    """Answer prompts about an image [d,h,w]; return the logits [k,d,h,w] and what was reached."""

    def run(image, prompts, model=None, *, structures=1, **options):
        given = PropagatedPrompts(
            prompts=prompts,
            structures=[Structure(name=f"s{k}", value=k + 1) for k in range(structures)],
            spacing_mm=(2.0, 1.0, 1.0),
            session=tmp_path / "answers",
            embeddings=tmp_path / "embeddings",
            options=PropagationOptions(**options),
        )
        with torch.no_grad():
            device = torch.device("cpu")
            slabs = propagate(given, image[None], model or PerfectOfVolumes(), device=device, batch_size=3)
            return torch.cat([slab.logits for slab in slabs], dim=1), given.reached

    return run


def bodies():
    """Return an image of a long bar that goes through all windows, and of a cube apart from it."""
    image = torch.zeros(SHAPE)
    image[1:19, 8:14, 5:55] = 0.8
    image[4:9, 30:38, 40:48] = 0.6
    return image


BAR, CUBE = (slice(1, 19), slice(8, 14), slice(5, 55)), (slice(4, 9), slice(30, 38), slice(40, 48))


def only(part):
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[part] = True
    return inside


def point(z, y, x, inside=True, structure=0):
    return SlicePrompt(structure=structure, slice=z, point_xy=(float(x), float(y)), inside=inside)


def box(z, part):
    rows, columns = part[1:]
    edges = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    return SlicePrompt(structure=0, slice=z, box_xyxy=edges)


def absent(z):
    return SlicePrompt(structure=0, slice=z, mask=torch.zeros(SHAPE[1:]))


@pytest.mark.parametrize("place", [(2, 9, 6), (10, 11, 30), (18, 13, 54)])
def test_one_click_finds_all_of_a_structure_larger_than_the_window(answered, place):
    logits, reached = answered(bodies(), [point(*place)])
    assert torch.equal(logits[0] > 0, only(BAR))
    assert reached[0].answered == set(range(1, 19))
    assert reached[0].prompted == {place[0]}


def test_a_box_on_one_slice_finds_what_it_is_about_and_nothing_else(answered):
    logits, _ = answered(bodies(), [box(6, CUBE)])
    assert torch.equal(logits[0] > 0, only(CUBE))


def test_a_scribble_a_lasso_and_a_mask_find_it_too(answered):
    scribble = SlicePrompt(structure=0, slice=5, scribble_xy=((41.0, 31.0), (46.0, 36.0)))
    lasso = SlicePrompt(structure=0, slice=5, lasso_xy=((38.0, 28.0), (49.0, 28.0), (49.0, 39.0), (38.0, 39.0)))
    drawn = SlicePrompt(structure=0, slice=5, mask=only(CUBE)[5].float())
    for prompt in (scribble, lasso, drawn):
        logits, _ = answered(bodies(), [prompt])
        assert torch.equal(logits[0] > 0, only(CUBE)), prompt


def test_slices_without_the_structure_bound_it(answered):
    image = bodies()
    logits, _ = answered(image, [box(10, BAR), absent(4), absent(15)])
    found = only(BAR)
    found[:5] = found[15:] = False
    assert torch.equal(logits[0] > 0, found)


def test_a_click_outside_takes_a_piece_away_and_leaves_the_others(answered):
    image = bodies()
    both, model = [point(10, 11, 30), point(6, 33, 44)], PerfectOfVolumes(window=(24, 64, 64))
    assert torch.equal(answered(image, both, model)[0][0] > 0, only(BAR) | only(CUBE))
    logits, _ = answered(image, [*both, point(7, 34, 45, inside=False)], model)
    left = (logits[0] > 0) & ~only(BAR)
    assert torch.equal(logits[0][BAR] > 0, torch.ones(18, 6, 50, dtype=torch.bool))
    assert left[6, 33, 44]  # the click that said so still holds
    assert left.sum() < 20


def test_a_box_thinner_than_a_pixel_is_its_own_object_and_a_click_goes_to_the_nearer_edge():
    """Pixel 10's middle is at 10.5: half a pixel from the thin box that ends at 10.0, 2.3 from the one from 12.8 on."""
    thin = SlicePrompt(structure=0, slice=2, box_xyxy=(9.8, 4.0, 10.0, 9.0))
    wide = SlicePrompt(structure=0, slice=2, box_xyxy=(12.8, 4.0, 20.0, 9.0))
    click = SlicePrompt(structure=0, slice=2, point_xy=(10.0, 6.0), inside=True)
    first, second = objects_of([thin, wide, click])
    assert first.prompts == (thin, click)
    assert second.prompts == (wide,)


def test_boxes_apart_are_objects_of_their_own_and_marks_belong_to_the_nearest():
    prompts = [box(6, CUBE), box(10, BAR), point(12, 33, 50, inside=False), absent(3), box(8, CUBE)]
    cube, bar = sorted(objects_of(prompts), key=lambda one: len(one.prompts), reverse=True)
    assert cube.prompts == (prompts[0], *prompts[2:])
    assert bar.prompts == (prompts[1], prompts[3])
    assert cube.box(SHAPE[0]).tolist() == [40, 30, 4, 48, 38, 20]  # from the absent slice to the end
    assert VolumePrompt(prompts=(prompts[0], prompts[4])).box(SHAPE[0]).tolist() == [40, 30, 6, 48, 38, 9]


def test_two_kidneys_by_a_box_each(answered):
    image = torch.zeros(SHAPE)
    left, right = (slice(3, 9), slice(10, 20), slice(5, 14)), (slice(6, 15), slice(12, 22), slice(40, 52))
    image[left] = image[right] = 0.5
    logits, _ = answered(image, [box(7, left), box(7, right)])
    assert torch.equal(logits[0] > 0, only(left) | only(right))


def test_every_structure_is_answered_by_its_own_prompts(answered):
    logits, reached = answered(bodies(), [point(10, 11, 30), point(6, 33, 44, structure=1)], structures=3)
    assert torch.equal(logits[0] > 0, only(BAR))
    assert torch.equal(logits[1] > 0, only(CUBE))
    assert not (logits[2] > 0).any()
    assert not reached[2].answered


def test_one_more_click_asks_once_and_what_is_kept_is_not_asked_again(answered):
    image, model = bodies(), PerfectOfVolumes(window=(24, 64, 64))
    first = [point(10, 11, 30)]
    answered(image, first, model)
    assert len(model.asked) == 1
    answered(image, first, model)
    assert len(model.asked) == 1
    logits, reached = answered(image, [*first, point(6, 33, 44)], model)
    assert len(model.asked) == 2
    shown = model.asked[-1]
    assert shown["point_labels"].tolist() == [-1, 1, 1]
    assert torch.equal(shown["mask_logits"][0, :20, :50, :60] > 0, only(BAR))
    again, _ = answered(image, [*first, point(6, 33, 44)], PerfectOfVolumes(window=(24, 64, 64)))
    assert torch.equal(logits, again)
    assert reached[0].asked == {6, 10}


def test_a_click_that_the_model_ignores_still_holds(answered):
    logits, _ = answered(bodies(), [point(6, 33, 44)], Deaf())
    assert logits[0, 6, 33, 44] > 0
    assert {int(z) for z in (logits[0] > 0).nonzero()[:, 0]} == {6}


def test_what_is_about_another_piece_changes_nothing_of_this_one(answered):
    class Forgetful(PerfectOfVolumes):
        """Loses half of the bar at the second click."""

        def inside(self, truth, prompt):
            found = super().inside(truth, prompt)
            if (prompt["point_labels"] >= 0).sum() > 1:
                found[:, :, :30] = False
            return found

    prompts = [point(10, 11, 30), point(6, 33, 44)]
    model = Forgetful(window=(24, 64, 64))
    assert torch.equal(answered(bodies(), prompts, model)[0][0] > 0, only(BAR) | only(CUBE))
    assert not (answered(bodies(), prompts, model, change="slice")[0][0, :, 8:14, :30] > 0).any()


def test_a_reach_ends_the_answer(answered):
    logits, _ = answered(bodies(), [point(10, 11, 30)], reach_mm=6.0)
    assert {int(z) for z in (logits[0] > 0).nonzero()[:, 0]} == set(range(7, 14))  # three slices of 2 mm


def test_nothing_is_asked_of_marks_outside_alone(answered):
    model = PerfectOfVolumes()
    logits, _ = answered(bodies(), [point(10, 11, 30, inside=False)], model)
    assert not model.asked
    assert not (logits > 0).any()


def test_a_scan_smaller_than_the_window_is_one_window(answered):
    image = torch.zeros(5, 20, 20)
    image[1:4, 5:15, 5:15] = 0.7
    model = PerfectOfVolumes()
    logits, _ = answered(image, [point(2, 10, 10)], model)
    assert torch.equal(logits[0] > 0, image > 0)
    assert len(model.asked) == 1


def test_each_window_that_is_asked_may_end_it(tmp_path):
    class Enough(Exception):
        pass

    seen = []

    def watch():
        seen.append(1)
        if len(seen) == 2:
            raise Enough

    volume = VolumeModel(
        image=bodies()[None],
        model=PerfectOfVolumes(),
        spacing_mm=(1.0, 1.0, 1.0),
        change="component",
        device=torch.device("cpu"),
    )
    with pytest.raises(Enough):
        volume.ask(VolumePrompt(prompts=(point(10, 11, 30),)), None, watch=watch)


def test_an_answer_comes_back_from_disk_as_it_was_in_memory(tmp_path):
    logits = torch.full(SHAPE, OUTSIDE)
    logits[3:5, 4:9, 2:7] = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    store = VolumeStore(tmp_path, SHAPE)
    store.keep("a", logits)
    again = VolumeStore(tmp_path, SHAPE)
    assert again.holds("a")
    assert not again.holds("b")
    assert torch.equal(again.load("a"), store.load("a"))
    torch.testing.assert_close(again.load("a"), logits, rtol=1e-3, atol=1e-3)
    (tmp_path / "c.safetensors").write_bytes(b"not this")
    assert not again.holds("c")


@torch.no_grad()
def test_marks_hold_in_the_answers_of_a_network_of_noise(answered):
    torch.manual_seed(0)
    model = PromptUNet(image_size=(8, 16, 16), widths=(16, 24)).eval()
    image, draw = torch.rand(10, 20, 24, generator=torch.Generator().manual_seed(1)), torch.Generator().manual_seed(2)
    for _ in range(10):
        prompts = []
        while len(prompts) < 4:
            z, y, x = (int(torch.randint(side, (), generator=draw)) for side in image.shape)
            if all(abs(z - p.slice) + abs(x - p.point_xy[0]) + abs(y - p.point_xy[1]) > 8 for p in prompts):
                prompts.append(point(z, y, x, inside=not prompts or len(prompts) % 2 == 0))
        logits, _ = answered(image, prompts, model)
        for prompt in prompts:
            x, y = map(int, prompt.point_xy)
            assert (logits[0, prompt.slice, y, x] > 0) == prompt.inside, replace(prompt)


class Deaf(PerfectOfVolumes):
    """Finds nothing."""

    def inside(self, truth, prompt):
        return torch.zeros_like(truth)


def test_a_click_after_a_mask_corrects_it_by_the_model(answered):
    image, model = bodies(), PerfectOfVolumes(window=(24, 64, 64))
    wrong = SlicePrompt(structure=0, slice=6, mask=(only(CUBE) | only(BAR))[6].float())
    both, _ = answered(image, [wrong], model)
    assert torch.equal(both[0, 6] > 0, (only(CUBE) | only(BAR))[6])
    logits, _ = answered(image, [wrong, point(6, 11, 30, inside=False)], model)
    assert torch.equal(logits[0] > 0, only(CUBE))


def test_a_box_after_an_absence_replaces_it_and_an_absence_after_a_box_the_box(answered):
    assert torch.equal(answered(bodies(), [absent(6), box(6, CUBE)])[0][0] > 0, only(CUBE))
    assert not (answered(bodies(), [box(6, CUBE), absent(6)])[0] > 0).any()


def test_a_box_replaces_one_that_it_overlaps_on_its_slice():
    wide = SlicePrompt(structure=0, slice=6, box_xyxy=(30.0, 20.0, 59.0, 49.0))
    (given,) = objects_of([wide, box(6, CUBE)])
    assert given.box(SHAPE[0]).tolist() == [40, 30, 6, 48, 38, 7]


def test_a_mask_too_faint_to_hold_a_voxel_is_an_absence(answered):
    faint = SlicePrompt(structure=0, slice=6, mask=0.1 * only(CUBE)[6].float())
    assert not (answered(bodies(), [faint])[0] > 0).any()
    assert torch.equal(answered(bodies(), [box(5, CUBE), faint])[0][0, :6] > 0, only(CUBE)[:6])


def test_a_mark_outside_holds_in_the_answers_of_all_objects(answered):
    """What leaks from the bar to near the cube is taken away by a click, which is the cube's."""

    class Leaking(PerfectOfVolumes):
        def inside(self, truth, prompt):
            found = super().inside(truth, prompt)
            found[6, 14:28, 44] = True
            return found

    boxes, model = [box(6, CUBE), box(10, BAR)], Leaking(window=(24, 64, 64))
    assert answered(bodies(), boxes, model)[0][0, 6, 26, 44] > 0
    logits, _ = answered(bodies(), [*boxes, point(6, 26, 44, inside=False)], model)
    assert logits[0, 6, 26, 44] <= 0


@torch.no_grad()
def test_boxes_on_every_slice_answer_the_slices_of_their_own_object():
    left, right = (slice(3, 9), slice(10, 20), slice(5, 14)), (slice(6, 15), slice(12, 22), slice(40, 52))
    image = (only(left) | only(right)).float()
    prompts = [box(z, left) for z in range(3, 6)] + [box(z, right) for z in range(6, 15)]
    given = ScanPrompts(prompts=prompts, structures=[Structure(name="s", value=1)])
    volume = VolumeModel(
        image=image[None], model=PerfectOfVolumes(), spacing_mm=(1.0,) * 3, change="slice", device=torch.device("cpu")
    )
    slabs = list(answer_boxes_of_volume(given, volume, batch_size=7))
    assert [slab.start for slab in slabs] == [0, 7, 14]
    found = torch.cat([slab.logits for slab in slabs], dim=1)[0] > 0
    expected = only(left) | only(right)
    expected[6:, :, :20] = False
    assert torch.equal(found, expected)


def test_many_answers_are_read_slice_by_slice_as_they_were_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("segfocal.inference.prompted.ready_volume._MOST_BYTES", 1000)
    store, kept = VolumeStore(tmp_path, SHAPE), {}
    for n in range(5):
        logits = torch.full(SHAPE, OUTSIDE)
        logits[n : n + 4, 3:9, 5:30] = float(n + 1)
        logits[n, 3:9, 5:30] = -1.0
        store.keep(str(n), logits)
        kept[n] = logits
    assert len(store._parts) == 1
    for n, logits in kept.items():
        assert torch.equal(store.load(str(n), 2, 9), logits[2:9])
        assert store.inside(str(n)) == {n + 1, n + 2, n + 3}
