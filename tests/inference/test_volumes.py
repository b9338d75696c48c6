"""3-D windows: patches from training to prediction, equal to MONAI's sliding window, through the plane and back."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from torch import nn

from segfocal import models
from segfocal.batch import SampleKey
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import segment_with
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.inference.sliding.sweep import Slab
from segfocal.inference.sliding.through_plane import at_depth
from segfocal.intensity import Percentiles, Window
from segfocal.resample import ModelGrid, resize_volume
from segfocal.structure import Structure
from tests.scans import affine_of, make_sphere_cases, sphere

BALL = (Structure(name="ball", value=1),)
UNIT = Window(lower=0.0, upper=1.0)


def volume(*shape, spacing_mm=(1.0, 1.0, 1.0), seed=0):
    affine = np.diag([*spacing_mm, 1.0])
    array = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return Volume(array=array, grid=Grid(shape=shape, affine=affine))


def bundle_of(model, *, window, spacing_mm=None, structures=BALL, frame="RAS"):
    return Bundle(
        model=model, model_config={}, grid=ModelGrid(frame=frame, spacing_mm=spacing_mm), window=window, intensity=UNIT,
        structures=structures, training={},
    )  # fmt: skip


def small_unet(classes=2):
    torch.manual_seed(0)
    return models.UNet(dims=3, classes=classes, widths=(4, 4, 8)).eval()


def logits_of(predictor, view):
    return torch.cat([slab.logits for slab in predictor.slabs(view)], dim=1)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(21, 19, 26), (5, 31, 18)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_a_small_unet_gives_the_logits_that_monais_sliding_window_gives(shape, overlap):
    network, window = small_unet(), (8, 16, 12)
    view = ModelInput(volume(*shape), ModelGrid(frame="RAS"), UNIT)
    predictor = Predictor([bundle_of(network, window=window)], sliding=SlidingOptions(overlap=overlap, batch_size=3))
    profiles = [np.maximum(np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (0.125 * n)) ** 2), 1e-3) for n in window]
    weights = torch.from_numpy(np.einsum("i,j,k->ijk", *profiles)).float()
    theirs = sliding_window_inference(
        view.whole()[None], window, 2, network, overlap=overlap, roi_weight_map=weights[None, None]
    )
    torch.testing.assert_close(logits_of(predictor, view), theirs[0], rtol=0, atol=1e-4)


class Bright(nn.Module):
    """Answers where a voxel is brighter than one half, after a look at how many axes it is given."""

    def forward(self, image):
        assert image.ndim == 5
        return (image[:, :1] - 0.5) * 16


@given(
    depth=st.integers(1, 20),
    thickness=st.sampled_from([0.4, 1.0, 2.3]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    percentiles=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_slices_read_in_any_parts_are_the_volume_resampled_through_plane(depth, thickness, cuts, percentiles):
    scan = volume(max(depth, 2), 7, 6, spacing_mm=(thickness, 1.0, 1.0))
    grid = ModelGrid(frame="RAS", spacing_mm=(1.0, 1.3, 0.8))
    if grid.of(Grid(shape=scan.grid.shape, affine=np.eye(4))).shape[0] == 1:
        return
    try:
        whole = grid.image(scan).array
    except UserError:  # a scan that would become a single slice
        return
    kind = Percentiles() if percentiles else UNIT
    view = ModelInput(scan, grid, kind)
    edges = sorted({0, len(whole), *[min(c, len(whole)) for c in cuts]})
    parts = [view.slices(low, high)[0].numpy() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), kind(whole), atol=2e-5)  # rounding, over a window's narrow range


@given(
    now=st.integers(1, 30),
    wanted=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_slabs_come_to_a_scans_slices_as_the_whole_does(now, wanted, cuts):
    logits = torch.randn(2, now, 3, 4, generator=torch.Generator().manual_seed(now))
    edges = sorted({0, now, *[min(c, now) for c in cuts]})
    slabs = [Slab(low, high, logits[:, low:high]) for low, high in itertools.pairwise(edges)]
    made = list(at_depth(iter(slabs), now=now, wanted=wanted))
    assert [slab.start for slab in made] == [0, *[slab.stop for slab in made][:-1]]
    assert made[-1].stop == wanted
    expected = np.stack([resize_volume(part.numpy(), (wanted, 3, 4)) for part in logits])
    np.testing.assert_allclose(torch.cat([slab.logits for slab in made], 1).numpy(), expected, atol=1e-5)


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
    scan = Volume(array=volume(17, 18, 9).array, grid=Grid(shape=(17, 18, 9), affine=affine))
    mask = segment_with(predictor, scan)
    assert 0 < mask.array.sum() < mask.array.size
    turned = scan.oriented("PIR")
    again = segment_with(predictor, Volume(array=np.ascontiguousarray(turned.array), grid=turned.grid))
    np.testing.assert_array_equal(again.array, mask.oriented("PIR").array)


@torch.no_grad()
def test_mirrored_along_every_axis_the_mean_counts():
    network, view = small_unet(), ModelInput(volume(8, 16, 16), ModelGrid(frame="RAS"), UNIT)
    sliding = SlidingOptions(flips=["d", "w"])
    found = logits_of(Predictor([bundle_of(network, window=(8, 16, 16))], sliding=sliding), view)
    image = view.whole()[None]
    answers = [network(image.flip(axes)).flip(axes) for axes in ([], [-3], [-1], [-3, -1])]
    torch.testing.assert_close(found, torch.stack(answers).mean(0)[0], rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="2-D windows"):
        Predictor([bundle_of(network, window=(16, 16))], sliding=sliding)


def test_memory_does_not_grow_with_the_slices(monkeypatch):
    made = []
    whole = ModelInput._made
    monkeypatch.setattr(ModelInput, "_made", lambda self, a, b: made.append((a, b)) or whole(self, a, b))
    predictor = Predictor([bundle_of(Bright(), window=(8, 8, 8))], sliding=SlidingOptions(batch_size=2))
    ahead = 0
    for slab in predictor.slabs(ModelInput(volume(64, 9, 10), ModelGrid(frame="RAS"), UNIT)):
        ahead = max(ahead, made[-1][1] - slab.stop)
    assert [a for a, _ in made[1:]] == [b for _, b in made[:-1]]  # each slice once
    assert ahead <= 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    cases = read_cases(make_sphere_cases(folder / "data", 2, shape=(15, 13, 12), affine=np.eye(4), radius_mm=3.0)).cases
    seen = Preparation(grid=ModelGrid(spacing_mm=(1.5, 1.0, 1.2)), intensity=UNIT, structures=BALL)
    return prepare(cases, seen, folder / "cache")


@pytest.mark.parametrize("crop", [(5, 7, 6), (4, 20, 6), (16, 7, 30)])
def test_a_patch_is_a_piece_of_the_volume_with_its_target(prepared, crop):
    data = SliceDataset(prepared, 1, Sampling(foreground=0.6, crop=crop))
    places = set()
    for sample in range(24):
        image, target, _, source = data[SampleKey(0, 0, sample)]
        assert image.shape == target.shape == (1, *crop)
        case = next(case for case in prepared if source.startswith(case.name))
        whole, indices = case.block(0, case.shape[0])
        padding = [
            (max(c - n, 0) // 2, max(c - n, 0) - max(c - n, 0) // 2) for c, n in zip(crop, case.shape, strict=True)
        ]
        both = np.stack([np.pad(whole[0], padding), np.pad(indices, padding)])
        pieces = np.lib.stride_tricks.sliding_window_view(both, crop, axis=(1, 2, 3))
        mine = np.stack([image[0].numpy(), target[0].numpy()])[:, None, None, None]
        found = np.argwhere((pieces == mine).all(axis=(0, 4, 5, 6)))
        assert len(found)
        places.add(found[0][0] + crop[0] * 100)
        again = data[SampleKey(0, 0, sample)]
        assert again[0].equal(image)
    assert len(places) > 1 or crop[0] > prepared[0].shape[0]


def test_foreground_patches_hold_the_target(prepared):
    data = SliceDataset(prepared, 1, Sampling(foreground=1.0, crop=(4, 5, 5)))
    assert all(data[SampleKey(0, 0, sample)][1].any() for sample in range(20))


def test_neighbours_and_patches_do_not_go_together():
    with pytest.raises(ValueError, match=r"data.neighbours=0"):
        Sampling(foreground=0.5, crop=(8, 16, 16), neighbours=1)
