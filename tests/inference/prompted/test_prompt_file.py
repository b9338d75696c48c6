"""A file of prompts says where they are, in voxels or mm, on a scan of any orientation; each mistake is one message."""

import itertools
import json
import time

import numpy as np
import pytest
import torch

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.inference.prompted.prompt_file import read_prompts
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import affine_of, make_scan, world_mm

SHAPE = (24, 20, 9)
AFFINE = affine_of(spacing_mm=(2.0, 3.0, 4.0), axes="LPS", degrees=(9.0, -6.0, 14.0))
BOTH = (Structure(name="liver", value=5), Structure(name="spleen", value=1))
GRID = ModelGrid(spacing_mm=(1.5, 1.5))


def grid():
    return Grid(shape=SHAPE, affine=AFFINE)


def read(tmp_path, entries, structures=BOTH, scan=None):
    (tmp_path / "prompts.json").write_text(json.dumps(entries))
    return read_prompts(tmp_path / "prompts.json", scan or grid(), structures, GRID)


def in_world(entry):
    """Return an entry of voxels in mm: the edges of a box, the middle of a point's voxel."""
    moved = dict(entry, space="world")
    for key, shift in (("lower", -0.5), ("upper", 0.5), ("point", 0.0)):
        if key in entry:
            moved[key] = world_mm(AFFINE, np.array(entry[key]) + shift).tolist()
    for key in {"scribble", "lasso"} & set(entry):
        moved[key] = [world_mm(AFFINE, np.array(place)).tolist() for place in entry[key]]
    return moved


def places(prompts):
    return [(p.structure, p.slice, p.box_xyxy, p.point_xy, p.scribble_xy, p.lasso_xy, p.inside) for p in prompts]


def test_a_box_reaches_its_slices_and_a_point_its_pixel(tmp_path):
    box = {"structure": "liver", "lower": [3, 5, 2], "upper": [6, 11, 4]}
    point = {"structure": "spleen", "point": [4, 6, 7], "inside": False}
    found = read(tmp_path, [box, point])
    assert [(p.structure, p.slice) for p in found] == [(0, 2), (0, 3), (0, 4), (1, 7)]
    h, w = GRID.of(grid()).shape[1:]
    assert (h, w) == (40, 32)
    # columns run to the patient's left along array axis 0, rows to the back along axis 1
    np.testing.assert_allclose(found[0].box_xyxy, [3 * w / 24, 5 * h / 20, 7 * w / 24, 12 * h / 20], atol=1e-3)
    np.testing.assert_allclose(found[3].point_xy, [4.5 * w / 24 - 0.5, 6.5 * h / 20 - 0.5], atol=1e-3)
    assert not found[3].inside


def test_voxels_and_millimetres_say_the_same(tmp_path):
    entries = [
        {"structure": "liver", "lower": [3, 5, 2], "upper": [6, 11, 4]},
        {"structure": "liver", "lower": [0, 0, 8], "upper": [23, 19, 8]},
        {"structure": "spleen", "point": [4, 6, 7], "inside": False},
        {"structure": "spleen", "scribble": [[4, 6, 7], [8, 7, 5]]},
        {"structure": "liver", "lasso": [[4, 6, 7], [8, 7, 7], [6, 12, 7]]},
    ]
    expected = places(read(tmp_path, entries))
    assert places(read(tmp_path, [in_world(entry) for entry in entries])) == expected
    whole = {"space": "world", "prompts": [{k: v for k, v in in_world(e).items() if k != "space"} for e in entries]}
    assert places(read(tmp_path, whole)) == expected


def test_a_flat_box_in_millimetres_prompts_the_slice_it_lies_in(tmp_path):
    corners = world_mm(AFFINE, np.array([[3, 5, 2.3], [9, 15, 2.3]])).tolist()
    assert [p.slice for p in read(tmp_path, {"space": "world", "prompts": [
        {"structure": "liver", "lower": corners[1], "upper": corners[0]}]})] == [2]  # fmt: skip


def test_a_mask_prompts_the_slices_it_marks_whatever_its_axes(tmp_path):
    marked = np.zeros(SHAPE, dtype=np.uint8)
    marked[3:12, 4:9, 2:5] = 5
    marked[15:20, 4:9, 7] = 1
    scan = grid()
    make_scan(tmp_path / "drawn.nii.gz", marked, AFFINE)
    turn = scan.orientation_to("AIR")
    make_scan(tmp_path / "turned.nii.gz", turn.apply(marked), scan.oriented(turn).affine)
    entry = {"structure": "liver", "mask": "drawn.nii.gz", "value": 5}
    found = read(tmp_path, [entry])
    assert [p.slice for p in found] == [2, 3, 4]
    h, w = 40, 32
    assert found[0].mask.shape == (h, w)
    assert abs(float(found[0].mask.mean()) - 9 * 5 / (24 * 20)) < 1e-4
    turned = read(tmp_path, [entry | {"mask": "turned.nii.gz"}])
    for one, other in zip(found, turned, strict=True):
        assert torch.equal(one.mask, other.mask)
    (only,) = read(tmp_path, [entry | {"slice": 6}])
    assert only.slice == 6
    assert not only.mask.any()


def test_a_scribble_prompts_the_slices_it_passes_with_its_pieces(tmp_path):
    flat = {"structure": "liver", "scribble": [[3, 5, 2], [9, 5, 2], [9, 11, 2.2]]}
    (found,) = read(tmp_path, [flat])
    w, h = 32 / 24, 40 / 20
    at = lambda i, j: ((i + 0.5) * w - 0.5, (j + 0.5) * h - 0.5)  # noqa: E731
    assert (found.slice, found.inside) == (2, True)
    np.testing.assert_allclose(found.scribble_xy, [at(3, 5), at(9, 5), at(9, 11)], atol=1e-3)
    steep = {"structure": "liver", "scribble": [[3, 5, 2], [9, 5, 4]], "inside": False}
    pieces = read(tmp_path, [steep])
    assert [(p.slice, p.inside) for p in pieces] == [(2, False), (3, False), (4, False)]
    ends = [at(3, 5), at(4.5, 5), at(7.5, 5), at(9, 5)]  # a border between slices at a quarter and three quarters
    for piece, own in zip(pieces, itertools.pairwise(ends), strict=True):
        np.testing.assert_allclose(piece.scribble_xy, own, atol=1e-3)
    (dot,) = read(tmp_path, [{"structure": "liver", "scribble": [[3, 5, 2]]}])
    np.testing.assert_allclose(dot.scribble_xy, [at(3, 5)], atol=1e-3)
    returning = read(tmp_path, [{"structure": "liver", "scribble": [[3, 5, 2], [9, 5, 3], [9, 9, 2]]}])
    assert [p.slice for p in returning] == [2, 3, 2]


def test_a_lasso_prompts_its_slice(tmp_path):
    lasso = {"structure": "spleen", "lasso": [[3, 5, 2], [9, 5, 2.4], [9, 11, 1.8]], "inside": False}
    (found,) = read(tmp_path, [lasso])
    assert (found.structure, found.slice, found.inside, len(found.lasso_xy)) == (1, 2, False, 3)
    assert found.adds
    (around,) = read(tmp_path, [lasso | {"inside": True}])
    assert not around.adds
    np.testing.assert_allclose(around.region_xyxy, [4.1667, 10.5, 13.1667, 23.5], atol=1e-3)


LIVER = {"structure": "liver"}
WRONG = {
    "not an object": (["box"], "entry 1"),
    "an unknown key": ([{**LIVER, "point": [1, 1, 1], "colour": 1}], "entry 1"),
    "no structure": ([{"point": [1, 1, 1]}], "none named"),
    "a strange structure": ([{**LIVER, "point": [1, 1, 1]}, {"structure": "heart", "point": [1, 1, 1]}], "entry 2"),
    "two numbers": ([{**LIVER, "point": [1, 1]}], "three numbers"),
    "words": ([{**LIVER, "point": ["a", 1, 1]}], "three numbers"),
    "true": ([{**LIVER, "point": [True, 1, 1]}], "three numbers"),
    "infinity": ([{**LIVER, "point": [1, 1, float("inf")]}], "three numbers"),
    "a place outside": ([{**LIVER, "point": [1, 1, 9]}], "inside the scan"),
    "a box that is upside down": ([{**LIVER, "lower": [5, 5, 5], "upper": [4, 6, 6]}], "lower ≤ upper"),
    "a box that leaves the scan": ([{**LIVER, "lower": [5, 5, 5], "upper": [24, 6, 6]}], "inside the scan"),
    "a space that is none": ([{**LIVER, "point": [1, 1, 1], "space": "lps"}], "$.space to be 'voxel' or 'world'"),
    "such a space of all": ({"space": "mm", "prompts": [{**LIVER, "point": [1, 1, 1]}]}, "space 'mm'"),
    "voxels said to be mm": ([{**LIVER, "point": [900, 1, 1], "space": "world"}], "inside the scan"),
    "inside that is neither": ([{**LIVER, "point": [1, 1, 1], "inside": 1}], "true or false"),
    "a scribble of nothing": ([{**LIVER, "scribble": []}], "entry 1"),
    "a scribble of one number": ([{**LIVER, "scribble": [1, 2, 3]}], "three numbers"),
    "a scribble that leaves the scan": ([{**LIVER, "scribble": [[1, 1, 1], [1, 99, 1]]}], "inside the scan"),
    "a lasso of two points": ([{**LIVER, "lasso": [[1, 1, 1], [5, 1, 1]]}], "at least 3"),
    "a lasso through slices": ([{**LIVER, "lasso": [[1, 1, 1], [5, 1, 1], [5, 1, 4]]}], "a lasso on one slice"),
    "a line": ([{**LIVER, "lower": [1, 1, 1], "upper": [1, 5, 1], "space": "world"}], "entry 1"),
    "a mask that is missing": ([{**LIVER, "mask": "none.nii.gz"}], "no such file"),
    "a mask of another grid": ([{**LIVER, "mask": "other.nii.gz", "value": 1}], "scan's grid"),
    "a mask of two values": ([{**LIVER, "mask": "two.nii.gz"}], "has [1, 2]"),
    "a mask without the value": ([{**LIVER, "mask": "two.nii.gz", "value": 7}], "marks a voxel"),
    "a slice outside": ([{**LIVER, "absent": True, "slice": 9}], "0 to 8"),
    "absent false": ([{**LIVER, "absent": False, "slice": 3}], "$.absent to be true"),
    "nothing": ([], "no prompt"),
    "a number": (3, "list of prompts"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_one_message_that_names_file_and_entry(tmp_path, name):
    entries, says = WRONG[name]
    two = np.zeros(SHAPE, dtype=np.uint8)
    two[3:6], two[9:12] = 1, 2
    make_scan(tmp_path / "two.nii.gz", two, AFFINE)
    make_scan(tmp_path / "other.nii.gz", two[1:], AFFINE)
    with pytest.raises(UserError) as caught:
        read(tmp_path, entries)
    message = str(caught.value)
    assert says in message
    assert str(tmp_path / "prompts.json") in message
    assert "\n" not in message


def test_boxes_alone_may_be_none_or_a_single_one_and_nothing_else(tmp_path):
    def boxes(entries):
        (tmp_path / "prompts.json").write_text(json.dumps(entries))
        return read_prompts(tmp_path / "prompts.json", grid(), BOTH, GRID, boxes_only=True)

    box = {"structure": "liver", "lower": [3, 5, 2], "upper": [6, 11, 4]}
    assert boxes([]) == []
    assert [(p.structure, p.slice) for p in boxes(box)] == [(0, 2), (0, 3), (0, 4)]
    assert places(boxes([box])) == places(boxes(box))
    np.testing.assert_allclose(boxes(box)[0].box_xyxy, read(tmp_path, [box])[0].box_xyxy, atol=5e-5)  # rounded there
    with pytest.raises(UserError, match=r"boxes alone.*found a point.*entry 2.*prompt=box"):
        boxes([box, {"structure": "liver", "point": [4, 6, 3]}])


def test_more_prompts_than_a_file_or_a_slice_may_have_are_refused_at_once(tmp_path):
    def message(entries):
        began = time.process_time()
        with pytest.raises(UserError) as told:
            read(tmp_path, entries)
        assert time.process_time() - began < 2
        return str(told.value)

    box = {**LIVER, "lower": [3, 5, 2], "upper": [6, 11, 2]}
    assert "at most 10,000 prompts in a file; found 10,001" in message([box] * 10_001)
    assert "at most 1,000 prompts of a structure on a slice; found 1,001" in message([box] * 1_500)
    zigzag = {**LIVER, "scribble": [[1, 1, 0], [5, 1, 8]] * 1_000}
    assert "at most 1,000 prompts of a structure on a slice" in message([zigzag])
    assert "at most 2000" in message([{**LIVER, "scribble": [[1, 1, 1]] * 2_001}])
    assert "at most 16 MiB" in message([{**LIVER, "point": [1, 1, 1]}] * 400_000)
    assert len(read(tmp_path, [box] * 1_000)) == 1_000


@pytest.mark.parametrize(
    "entry",
    [{**LIVER, "mask": "a\0b"}, {**LIVER, "mask": ""}, {**LIVER, "mask": ["a"]}, {**LIVER, "mask": "m", "slice": True},
     {**LIVER, "absent": 1, "slice": 1}, {"structure": ["liver"], "point": [1, 1, 1]}, {**LIVER, "point": {"0": 1}},
     {"structure": {}, "point": [1, 1, 1]}, {**LIVER, "lower": [1, 1, 1], "upper": "abc"}, None, {}, []],
)  # fmt: skip
def test_an_entry_of_other_types_is_one_message(tmp_path, entry):
    with pytest.raises(UserError, match="entry 1") as told:
        read(tmp_path, [entry])
    assert "\n" not in str(told.value)


def test_what_a_resampled_slice_axis_merges_keeps_every_slice_that_a_mask_marks(tmp_path):
    """Nine slices of 4 mm seen as three of 12: each of the model's stands for three, marked where any of them is."""
    marked = np.zeros(SHAPE, np.uint8)
    marked[4:9, 5:12, 0] = marked[10:14, 5:12, 4] = 1
    make_scan(tmp_path / "mask.nii.gz", marked, AFFINE)
    (tmp_path / "prompts.json").write_text(json.dumps([{"structure": "liver", "mask": "mask.nii.gz"}]))
    model = ModelGrid(spacing_mm=(12.0, 1.5, 1.5))
    found = read_prompts(tmp_path / "prompts.json", grid(), BOTH, model)
    assert [p.slice for p in found] == [0, 1]
    entries = [{"structure": "liver", "absent": True, "slice": z} for z in range(9)]
    (tmp_path / "prompts.json").write_text(json.dumps(entries))
    assert [p.slice for p in read_prompts(tmp_path / "prompts.json", grid(), BOTH, model)] == [
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
    ]
    finer = ModelGrid(spacing_mm=(2.0, 1.5, 1.5))
    (tmp_path / "prompts.json").write_text(json.dumps([{"structure": "liver", "mask": "mask.nii.gz"}]))
    assert [p.slice for p in read_prompts(tmp_path / "prompts.json", grid(), BOTH, finer)] == [0, 1, 8, 9]
