"""2.5-D: neighbouring slices as channels are the same in training and in a stream of windows, edges included."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segfocal.batch import SampleKey
from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.grid import Grid, Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.slice_boxes import boxes_from_labels
from segfocal.inference.segment import segment_with
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.io import volumes
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.inference.perfect import Perfect
from tests.scans import affine_of, make_sphere_case

BALL = (Structure(name="ball", value=1),)
UNIT = Window(lower=0.0, upper=1.0)


def scan_of(array):
    """Return slices [d,h,w] as a volume that a model sees as they are, in the frame RAS."""
    return Volume(array=array, grid=Grid(shape=array.shape, affine=np.eye(4)))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def expected(slices, neighbours):
    """Return what direct code makes of slices [d,h,w]: channels [2n+1,d,h,w]."""
    last = len(slices) - 1
    return np.stack([
        [slices[min(max(z + step, 0), last)] for z in range(len(slices))] for step in range(-neighbours, neighbours + 1)
    ])  # fmt: skip


def bundle_of(model, *, neighbours, window=(8, 8), structures=BALL):
    return Bundle(
        model=model, model_config={}, grid=ModelGrid(frame="RAS"), window=window, intensity=UNIT,
        structures=structures, training={}, neighbours=neighbours,
    )  # fmt: skip


class Channel(nn.Module):
    """Gives one of its channels as logits."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, image):
        return image[:, self.channel : self.channel + 1] - 0.5


def logits_of(predictor, array, neighbours):
    slabs = predictor.slabs(ModelInput(scan_of(array), ModelGrid(frame="RAS"), UNIT, neighbours=neighbours))
    return torch.cat([slab.logits for slab in slabs], dim=1).numpy()


@given(
    depth=st.integers(1, 12),
    neighbours=st.integers(0, 4),
    cuts=st.lists(st.integers(0, 12), max_size=6),
    spacing=st.sampled_from([None, (1.6, 0.7)]),
)
@settings(max_examples=100, deadline=None)
def test_slices_read_in_any_parts_have_their_neighbours(depth, neighbours, cuts, spacing):
    slices, grid = noise(depth, 6, 5), ModelGrid(frame="RAS", spacing_mm=spacing)
    plain = ModelInput(scan_of(slices), grid, Percentiles()).whole()[0].numpy()
    view = ModelInput(scan_of(slices), grid, Percentiles(), neighbours=neighbours)
    edges = sorted({0, depth, *[min(c, depth) for c in cuts]})
    parts = [view.slices(low, high).numpy() for low, high in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected(plain, neighbours))
    np.testing.assert_array_equal(view.slices(depth // 2, depth).numpy(), expected(plain, neighbours)[:, depth // 2 :])
    assert view.shape == view.whole().shape == (2 * neighbours + 1, *plain.shape)


@pytest.mark.parametrize("crop", ["none", "body"])
def test_windows_of_a_slice_see_its_neighbours(crop):
    array = noise(9, 13, 11)
    array[:2] = array[:, :3] = 0  # air
    for channel in range(5):
        predictor = Predictor(
            [bundle_of(Channel(channel), neighbours=2)], sliding=SlidingOptions(crop=crop, batch_size=5)
        )
        found = logits_of(predictor, array, 2)[0]
        inside = np.s_[2:, 3:] if crop == "body" else np.s_[:]
        np.testing.assert_allclose(found[inside], expected(array, 2)[channel][inside] - 0.5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_in_is_constant_out(value):
    predictor = Predictor([bundle_of(Channel(2), neighbours=1)], sliding=SlidingOptions())
    logits = logits_of(predictor, np.full((7, 13, 11), value, np.float32), 1)
    assert (logits == np.float32(value) - np.float32(0.5)).all()


def test_memory_does_not_grow_with_the_slices_and_each_is_made_once(monkeypatch):
    made, held = [], []
    whole = ModelInput._made

    def counted(self, start, stop):
        made.extend(range(start, stop))
        held.append(self._last[1].shape[1])
        return whole(self, start, stop)

    monkeypatch.setattr(ModelInput, "_made", counted)
    predictor = Predictor([bundle_of(Channel(0), neighbours=2)], sliding=SlidingOptions(batch_size=4))
    logits_of(predictor, noise(60, 11, 13), 2)
    assert made == list(range(60))
    assert max(held) <= 4


def test_a_training_sample_has_the_neighbours_of_its_slice(tmp_path):
    make_sphere_case(tmp_path, shape=(9, 10, 6), affine=np.eye(4), radius_mm=3.0)
    preparation = Preparation(grid=ModelGrid(), intensity=Window(lower=-60.0, upper=160.0), structures=BALL)
    (case,) = prepare(read_cases(tmp_path).cases, preparation, tmp_path / "cache")
    alone = np.stack([case.slice(z)[0][0] for z in range(6)])
    for z in range(6):
        image, target = case.slice(z, neighbours=3)
        np.testing.assert_array_equal(image, expected(alone, 3)[:, z])
        np.testing.assert_array_equal(target, case.slice(z)[1])
    data = SliceDataset([case], 1, Sampling(foreground=0.5, crop=case.shape[1:], neighbours=1))
    for sample in range(8):
        image, _, _, source = data[SampleKey(0, 0, sample)]
        z = int(source.rpartition(" ")[2])
        np.testing.assert_array_equal(image, expected(alone, 1)[:, z])


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


def test_a_bundle_knows_its_neighbours_and_older_ones_have_none(tmp_path):
    from segfocal import models
    from segfocal.files import read_json, write_json

    config = {"_target_": "segfocal.models.UNet", "channels": 5, "classes": 1, "widths": [4, 4, 8]}
    made = bundle_of(models.build(config), neighbours=2)
    bundles.save(Bundle(**(vars(made) | {"model_config": config})), tmp_path)
    assert bundles.load(tmp_path).neighbours == 2
    assert bundles.load(tmp_path).inputs == 5
    facts = read_json(tmp_path / "bundle.json")
    del facts["neighbours"]
    write_json(tmp_path / "bundle.json", facts)
    assert bundles.load(tmp_path).neighbours == 0


def test_training_and_inference_see_channels_and_neighbours_alike(tmp_path):
    affine = affine_of(spacing_mm=(1.1, 0.8, 2.5), axes="PIR", degrees=(9.0, -6.0, 14.0))
    files = [make_sphere_case(tmp_path, f"c{i}", shape=(11, 9, 12), affine=affine, seed=i) for i in range(2)]
    case = Case(name="both", image=files[0][0], more=(files[1][0],), label=files[0][1])
    maps = PerChannel(each=(Percentiles(), Window(lower=-20.0, upper=90.0)))
    seen = Preparation(grid=ModelGrid(spacing_mm=(1.3, 0.9)), intensity=maps, structures=BALL)
    (ready,) = prepare([case], seen, tmp_path / "cache")
    view = ModelInput(volumes.read_channels(case.images), seen.grid, maps, neighbours=2).whole().numpy()
    for z in range(ready.shape[0]):
        np.testing.assert_allclose(ready.slice(z, neighbours=2)[0], view[:, z], atol=2**-12)  # float16 on disk
