"""From a scan to a label map: found where it is at any spacing, turned as the scan is, by windows or by boxes."""

import numpy as np
import pytest
import torch

from segfocal import models
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.scan_prompts import ScanPrompts
from segfocal.inference.prompted.slice_boxes import boxes_from_labels
from segfocal.inference.segment import segment_with
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.io import nifti
from segfocal.resample import ModelGrid
from tests.inference.bundles import BALL, Bright, bundle_of, noise, scan_of, small_unet
from tests.inference.perfect import Perfect
from tests.random_bundle import STRUCTURES, image, make_bundle
from tests.scans import AFFINES, affine_of, make_scan, sphere


@pytest.mark.parametrize("spacing_mm", [None, (1.7, 1.2, 0.9), (0.6, 1.2, 0.9), (1.1, 1.3)])
@pytest.mark.parametrize("crop", ["none", "body"])
def test_a_ball_is_found_where_it_is_at_any_spacing(spacing_mm, crop):
    affine = affine_of(spacing_mm=(0.9, 1.1, 1.4), axes="PIR", degrees=(9.0, -6.0, 14.0))
    inside = sphere((31, 27, 24), affine, radius_mm=9.0)
    scan = Volume(array=inside.astype(np.float32), grid=Grid(shape=inside.shape, affine=affine))
    bundle = bundle_of(Bright(), window=(8, 16, 16), spacing_mm=spacing_mm, frame="SPL")
    mask = segment_with(Predictor([bundle], sliding=SlidingOptions(crop=crop)), scan).array
    wrong = np.count_nonzero(mask.astype(bool) != inside)
    assert wrong <= (0 if spacing_mm is None else 0.12 * inside.sum())


@torch.no_grad()
def test_flipping_and_permuting_the_scan_does_the_same_to_the_mask():
    network = small_unet(classes=1)
    predictor = Predictor([bundle_of(network, window=(8, 16, 12), frame="SPL")], sliding=SlidingOptions())
    affine = affine_of(spacing_mm=(1.0, 1.2, 2.0), axes="LAS")
    scan = Volume(array=noise(17, 18, 9), grid=Grid(shape=(17, 18, 9), affine=affine))
    mask = segment_with(predictor, scan)
    assert 0 < mask.array.sum() < mask.array.size
    turned = scan.oriented("PIR")
    again = segment_with(predictor, Volume(array=np.ascontiguousarray(turned.array), grid=turned.grid))
    np.testing.assert_array_equal(again.array, mask.oriented("PIR").array)


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_turning_the_axes_of_a_scan_turns_its_mask_and_nothing_else(random_bundle, tmp_path, turn, flip):
    array, affine = image(0), AFFINES["oblique"]
    predictor = Predictor([bundles.load(random_bundle)], sliding=SlidingOptions())
    first = segment_with(predictor, nifti.read_stored(make_scan(tmp_path / "a.nii", array, affine))).array
    move = np.zeros((4, 4))
    move[3, 3] = 1
    for new, old in enumerate(turn):
        move[old, new] = -1 if new in flip else 1
        move[old, 3] = array.shape[old] - 1 if new in flip else 0
    turned = np.flip(array.transpose(turn), flip)
    other = nifti.read_stored(make_scan(tmp_path / "b.nii", turned, affine @ move))
    mask = segment_with(predictor, other)
    np.testing.assert_array_equal(mask.array, np.flip(first.transpose(turn), flip))
    np.testing.assert_allclose(mask.grid.affine, affine @ move, atol=1e-5)  # float32 of the header


def test_several_bundles_are_not_asked_with_prompts(tmp_path):
    torch.manual_seed(0)
    config = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "decoder_width": 32}
    facts = {"model": models.build(config), "model_config": config, "window": (32, 32), "structures": STRUCTURES[:1]}
    loaded = bundles.load(make_bundle(tmp_path / "bundle", **facts))
    scan = nifti.read_stored(make_scan(tmp_path / "ct.nii.gz", image(0)))
    prompts = ScanPrompts(prompts=[], structures=STRUCTURES[:1])
    with pytest.raises(UserError, match="one bundle for prompts; found 2"):
        segment_with(Predictor([loaded, loaded], sliding=SlidingOptions()), scan, prompts=prompts)


class Counting(Perfect):
    """Knows where the ball is from the middle channel, and remembers how many channels it saw."""

    seen = 0

    def encode(self, image):
        self.seen = image.shape[1]
        return super().encode(image[:, image.shape[1] // 2][:, None])


def test_boxes_are_answered_with_neighbours():
    array = np.zeros((7, 40, 37), np.float32)
    array[2:5, 10:20, 8:22] = 1.0
    labels = Volume(array=(array > 0).astype(np.uint8), grid=scan_of(array).grid)
    model = Counting()
    predictor = Predictor([bundle_of(model, neighbours=1, window=(32, 32))], sliding=SlidingOptions())
    boxes = boxes_from_labels(labels, BALL, ModelGrid(frame="RAS"))
    mask = segment_with(predictor, scan_of(array), prompts=boxes)
    np.testing.assert_array_equal(mask.array, labels.array)
    assert model.seen == 3
