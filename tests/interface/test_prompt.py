"""Prompts given in Python are answered as those of a file are."""

import json

import nibabel as nib
import numpy as np
import pytest

import segfocal
from segfocal.errors import UserError
from segfocal.inference.prompted.propagation_options import PropagationOptions
from tests.random_bundle import STRUCTURES, image, make_bundle
from tests.scans import affine_of, make_scan
from tests.system.commands import segfocal as command

UNET = {"_target_": "segfocal.models.PromptUNet", "image_size": 16, "widths": [8, 8]}
AFFINE = affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS", degrees=(4.0, 3.0, -8.0))
EASY = PropagationOptions(min_area_mm2=0.0, min_stability=0.0, min_overlap=0.0, max_area_change=1e9)
BOX = ((4, 5, 3), (11, 12, 3))


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return make_scan(tmp_path_factory.mktemp("scan") / "ct.nii.gz", image(2), AFFINE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("promptable") / "bundle", config=UNET, needs_prompts=True)


@pytest.fixture(scope="module")
def model(bundle):
    return segfocal.load(bundle, engine="torch", device="cpu")


def voxels(mask):
    return np.asarray(mask.dataobj)


def commands_mask(monkeypatch, bundle, scan, folder, entries, *options):
    prompts, output = folder / "prompts.json", folder / "mask.nii.gz"
    prompts.write_text(json.dumps(entries))
    given = (f"bundle={bundle}", f"input={scan}", f"output={output}", f"prompts={prompts}", "engine=torch")
    assert command(monkeypatch, "predict", *given, "device=cpu", "session=null", *options) == 0
    return voxels(nib.load(output))


def test_prompts_give_the_commands_mask(monkeypatch, tmp_path, bundle, scan, model):
    entries = [
        {"lower": BOX[0], "upper": BOX[1], "structure": "liver"},
        {"point": [6, 7, 3], "inside": True, "structure": "liver"},
        {"point": [10, 12, 3], "inside": False, "structure": "liver"},
    ]
    easy = [f"propagate.{name}={getattr(EASY, name)}" for name in ("min_area_mm2", "min_stability", "min_overlap")]
    expected = commands_mask(monkeypatch, bundle, scan, tmp_path, entries, *easy, "propagate.max_area_change=1e9")
    mask = model.prompt(
        scan, points=[(6, 7, 3)], boxes=[BOX], outside=[np.array([10, 12, 3])], structure="liver", propagate=EASY
    )
    np.testing.assert_array_equal(voxels(mask), expected)
    assert voxels(mask)[6, 7, 3] == 5  # a point inside holds
    assert voxels(mask)[10, 12, 3] == 0  # so does one outside


def test_boxes_alone_give_the_commands_mask(monkeypatch, tmp_path, bundle, scan, model):
    entries = [{"lower": BOX[0], "upper": BOX[1], "structure": "spleen"}]
    expected = commands_mask(monkeypatch, bundle, scan, tmp_path, entries, "prompt=box")
    mask = voxels(model.prompt(scan, boxes=[BOX], structure="spleen", propagate=False))
    np.testing.assert_array_equal(mask, expected)
    assert set(np.flatnonzero(mask.any((0, 1)))) <= {3}


def test_a_place_in_mm_is_the_same_place(scan, model):
    world = (nib.load(scan).affine @ [6, 7, 3, 1])[:3]
    by_voxel = model.prompt(scan, points=[(6, 7, 3)], structure="liver")
    by_mm = model.prompt(scan, points=[world], structure="liver", space="world")
    np.testing.assert_array_equal(voxels(by_mm), voxels(by_voxel))
    entry = {"point": world.tolist(), "space": "world", "structure": "liver"}
    np.testing.assert_array_equal(voxels(model.prompt(scan, points=[entry], structure="spleen")), voxels(by_voxel))


def test_arrays_give_arrays(scan, model):
    read = nib.load(scan)
    mask = model.prompt(np.asarray(read.dataobj), boxes=[BOX], structure="liver", affine=read.affine)
    np.testing.assert_array_equal(mask, voxels(model.prompt(read, boxes=[BOX], structure="liver")))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "found no prompt in the prompts given"),
        ({"points": [(1, 2)]}, "a point of three numbers"),
        ({"points": ["here"]}, "a point of three numbers"),
        ({"boxes": [(1, 2, 3)]}, "a box of two corners"),
        ({"points": [(1, 2, 99)], "structure": "liver"}, "a place inside the scan"),
        ({"points": [(1, 2, 3)]}, '"structure": liver or spleen'),
        ({"points": [(1, 2, 3)], "structure": "heart"}, '"structure": liver or spleen'),
        ({"points": [(1, 2, 3)], "structure": "liver", "space": "mm"}, "space voxel or world"),
        ({"points": [(1, 2, 3)], "structure": "liver", "propagate": False}, "boxes alone"),
    ],
)
def test_a_wrong_prompt_is_one_line(scan, model, prompts, message):
    with pytest.raises(UserError, match=message):
        model.prompt(scan, **prompts)


def test_a_model_that_needs_prompts_says_so(scan, model):
    assert tuple(model.structures) == tuple(structure.name for structure in STRUCTURES)
    with pytest.raises(UserError, match="no prompt for a model"):
        model.segment(scan)
