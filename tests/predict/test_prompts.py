"""Prompts of a scan: a turned scan gets the turned mask, and boxes say the same in a file and in a label map."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.segment import segment
from segfocal.intensity import Window
from segfocal.predict.options import PromptKind, PromptOptions
from segfocal.predict.prompts import prompts_of_scan
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect
from tests.scans import affine_of, make_scan

SHAPE = (24, 20, 9)
AFFINE = affine_of(spacing_mm=(2.0, 3.0, 4.0), axes="LPS", degrees=(9.0, -6.0, 14.0))
BOTH = (Structure(name="liver", value=5), Structure(name="spleen", value=1))
GRID = ModelGrid(spacing_mm=(1.5, 1.5))


def perfect_bundle():
    return Bundle(
        model=Perfect().eval(), model_config={}, grid=GRID, window=(SIDE, SIDE), structures=BOTH, training={},
        intensity=Window(lower=0, upper=100), needs_prompts=True,
    )  # fmt: skip


def wedge():
    """Return a bright structure that grows from slice 1 to slice 7."""
    inside = np.zeros(SHAPE, dtype=np.float32)
    for z in range(1, 8):
        inside[4 + z // 2 : 15, 3 : 12 + z // 3, z] = 100
    return inside


def turned_entry(entry, scan, turn):
    """Return an entry in the voxels of a scan that was turned."""

    def place(index):
        moved = [index[axis] for axis in turn.axes]
        return [scan.shape[a] - 1 - m if f else m for a, m, f in zip(turn.axes, moved, turn.flips, strict=True)]

    if "point" in entry:
        return entry | {"point": place(entry["point"])}
    corners = np.array([place(entry["lower"]), place(entry["upper"])])
    return entry | {"lower": corners.min(0).tolist(), "upper": corners.max(0).tolist()}


@torch.no_grad()
@pytest.mark.parametrize("frame", ["RAS", "LPS", "ASL", "IRP"])
def test_a_turned_scan_gets_the_turned_mask(tmp_path, frame):
    inside = wedge()
    scan = Volume(array=inside, grid=Grid(shape=SHAPE, affine=AFFINE))
    turn = scan.grid.orientation_to(frame)
    turned = Volume(array=turn.apply(inside), grid=scan.grid.oriented(turn))
    entries = [
        {"structure": "liver", "lower": [5, 2, 3], "upper": [16, 13, 3]},
        {"structure": "liver", "point": [9, 7, 6]},
    ]
    bundle = perfect_bundle()
    masks = []
    for volume, own in ((scan, entries), (turned, [turned_entry(e, scan.grid, turn) for e in entries])):
        (tmp_path / "prompts.json").write_text(json.dumps(own))
        options = PromptOptions(file=tmp_path / "prompts.json", propagation=PropagationOptions(min_overlap=0.0))
        with prompts_of_scan(options, volume.grid, bundle) as prompts:
            masks.append(segment(volume, bundle, prompts=prompts).array)
    assert np.array_equal(turn.apply(masks[0]), masks[1])
    assert set(np.unique(masks[0])) == {0, 5}
    assert [bool(masks[0][:, :, z].any()) for z in range(9)] == [False, *[True] * 7, False]


@torch.no_grad()
def test_boxes_answer_their_own_slices_alike_from_a_file_and_from_a_label_map(tmp_path):
    inside, scan = wedge(), Grid(shape=SHAPE, affine=AFFINE)
    labels = (inside > 0).astype(np.uint8) * 5
    labels[:, :, 6:] = 0  # the label map says nothing of these slices
    make_scan(tmp_path / "label.nii.gz", labels, AFFINE)
    entries = []
    for z in range(1, 6):
        i, j = np.nonzero(labels[:, :, z])
        lower, upper = [int(i.min()), int(j.min()), z], [int(i.max()), int(j.max()), z]
        middle = (lower[0] + upper[0]) // 2  # in two halves: the box around both counts
        entries.append({"structure": "liver", "lower": lower, "upper": [middle, *upper[1:]]})
        entries.append({"structure": "liver", "lower": [middle, *lower[1:]], "upper": upper})
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    masks = {}
    for kind, name in ((PromptKind.BOXES, "boxes.json"), (PromptKind.LABEL_BOXES, "label.nii.gz")):
        options = PromptOptions(file=tmp_path / name, kind=kind)
        with prompts_of_scan(options, scan, perfect_bundle()) as prompts:
            assert prompts.report() == {}
            masks[kind] = segment(Volume(array=inside, grid=scan), perfect_bundle(), prompts=prompts).array
    assert np.array_equal(masks[PromptKind.BOXES], masks[PromptKind.LABEL_BOXES])
    assert np.array_equal(masks[PromptKind.BOXES] == 5, labels == 5)


def test_a_label_map_on_another_grid_is_refused(tmp_path):
    make_scan(tmp_path / "label.nii.gz", np.ones(SHAPE, np.uint8)[1:], AFFINE)
    options = PromptOptions(file=tmp_path / "label.nii.gz", kind=PromptKind.LABEL_BOXES)
    with (
        pytest.raises(UserError, match="a reference on the scan's grid"),
        prompts_of_scan(options, Grid(shape=SHAPE, affine=AFFINE), perfect_bundle()),
    ):
        pass


def test_boxes_apart_on_a_slice_are_each_answered(tmp_path):
    """Two kidneys and the spine between them: one box around both would take it in."""
    array = np.zeros(SHAPE, np.float32)
    array[2:7, 3:9, 2:7] = array[16:22, 4:10, 2:7] = array[9:14, 3:10, 2:7] = 100
    scan = Volume(array=array, grid=Grid(shape=SHAPE, affine=affine_of()))
    boxes = [
        {"structure": "liver", "lower": [2, 3, 2], "upper": [6, 8, 6]},
        {"structure": "liver", "lower": [16, 4, 2], "upper": [21, 9, 6]},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    bundle = replace(perfect_bundle(), grid=ModelGrid())
    for kind in (PromptKind.BOXES, PromptKind.PROPAGATED):
        options = PromptOptions(file=tmp_path / "boxes.json", kind=kind)
        with prompts_of_scan(options, scan.grid, bundle) as prompts:
            mask = segment(scan, bundle, prompts=prompts).array
        expected = np.where(array > 0, 5, 0)
        expected[9:14] = 0
        np.testing.assert_array_equal(mask, expected)
