"""Bundles, flips and crops through windows: equal to MONAI's sliding window in 3-D, and to direct code in 2.5-D."""

import gc

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.inference import predictor as predictor_module
from segfocal.inference.predictor import Predictor
from segfocal.inference.sliding import model_input
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.resample import ModelGrid
from tests.inference.bundles import UNIT, Bright, Channel, bundle_of, logits_of, noise, scan_of, small_unet
from tests.inference.neighbours import expected
from tests.random_bundle import make_bundle


def seen(array, neighbours=0):
    return ModelInput(scan_of(array), ModelGrid(frame="RAS"), UNIT, neighbours=neighbours)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(21, 19, 26), (5, 31, 18)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_a_small_unet_gives_the_logits_that_monais_sliding_window_gives(shape, overlap):
    network, window = small_unet(), (8, 16, 12)
    image = ModelInput(scan_of(noise(*shape)), ModelGrid(frame="RAS"), UNIT)
    predictor = Predictor([bundle_of(network, window=window)], sliding=SlidingOptions(overlap=overlap, batch_size=3))
    profiles = [np.maximum(np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (0.125 * n)) ** 2), 1e-3) for n in window]
    weights = torch.from_numpy(np.einsum("i,j,k->ijk", *profiles)).float()
    theirs = sliding_window_inference(
        image.whole()[None], window, 2, network, overlap=overlap, roi_weight_map=weights[None, None]
    )
    torch.testing.assert_close(logits_of(predictor, image), theirs[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("window", "asked", "taken"),
    [((256, 256), 8, 8), ((512, 512), 8, 4), ((32, 128, 128), 8, 2), ((96, 96, 96), 8, 1), ((256, 256, 256), 8, 1)],
)
def test_a_cpu_takes_fewer_large_windows_at_a_time(window, asked, taken):
    """2^20 pixels together, or one window."""
    predictor = Predictor([bundle_of(small_unet(), window=window)], sliding=SlidingOptions(batch_size=asked))
    assert predictor.batching.size == taken
    again = Predictor([bundle_of(small_unet(), window=window)], sliding=SlidingOptions(batch_size=1))
    assert again.batching.size == 1


@torch.no_grad()
def test_mirrored_along_every_axis_the_mean_counts():
    network, image = small_unet(), ModelInput(scan_of(noise(8, 16, 16)), ModelGrid(frame="RAS"), UNIT)
    sliding = SlidingOptions(flips=["d", "w"])
    found = logits_of(Predictor([bundle_of(network, window=(8, 16, 16))], sliding=sliding), image)
    whole = image.whole()[None]
    answers = [network(whole.flip(axes)).flip(axes) for axes in ([], [-3], [-1], [-3, -1])]
    torch.testing.assert_close(found, torch.stack(answers).mean(0)[0], rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="2-D windows"):
        Predictor([bundle_of(network, window=(16, 16))], sliding=sliding)


def test_several_bundles_answer_with_the_mean_of_their_logits(tmp_path):
    folders = [make_bundle(tmp_path / f"fold_{seed}", seed) for seed in (0, 1, 2)]
    loaded = [bundles.load(folder) for folder in folders]
    together, alone = Predictor(loaded, sliding=SlidingOptions()), []
    batch = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        alone = [Predictor([one], sliding=SlidingOptions()).network(batch) for one in loaded]
        torch.testing.assert_close(together.network(batch), torch.stack(alone).mean(0))


def test_flips_average_the_answers_to_mirrored_windows(random_bundle):
    loaded, batch = bundles.load(random_bundle), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        mean = Predictor([loaded], sliding=SlidingOptions(flips=("h", "w"))).network(batch)
        answers = [loaded.model(batch.flip(axes)).flip(axes) for axes in ([], [-2], [-1], [-2, -1])]
    torch.testing.assert_close(mean, torch.stack(answers).mean(0))


@pytest.mark.parametrize("crop", ["none", "body"])
def test_windows_of_a_slice_see_its_neighbours(crop):
    array = noise(9, 13, 11)
    array[:2] = array[:, :3] = 0  # air
    for channel in range(5):
        predictor = Predictor(
            [bundle_of(Channel(channel), neighbours=2)], sliding=SlidingOptions(crop=crop, batch_size=5)
        )
        found = logits_of(predictor, seen(array, 2))[0].numpy()
        inside = np.s_[2:, 3:] if crop == "body" else np.s_[:]
        np.testing.assert_allclose(found[inside], expected(array, 2)[channel][inside] - 0.5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_in_is_constant_out(value):
    predictor = Predictor([bundle_of(Channel(2), neighbours=1)], sliding=SlidingOptions())
    logits = logits_of(predictor, seen(np.full((7, 13, 11), value, np.float32), 1)).numpy()
    assert (logits == np.float32(value) - np.float32(0.5)).all()


@pytest.fixture
def made(monkeypatch):
    """The slices that were made, in order: of a scan whose slices hold their own index."""
    made, resize = [], model_input.resize_slices

    def recorded(array, size):
        made.extend(array[:, 0, 0].astype(int).tolist())
        return resize(array, size)

    monkeypatch.setattr(model_input, "resize_slices", recorded)
    return made


def indices(depth, height, width):
    """Return slices that hold their own index."""
    return np.broadcast_to(np.arange(depth, dtype=np.float32)[:, None, None], (depth, height, width)).copy()


def test_memory_does_not_grow_with_the_slices_of_3d_windows(made):
    predictor = Predictor([bundle_of(Bright(), window=(8, 8, 8))], sliding=SlidingOptions(batch_size=2))
    ahead = 0
    for slab in predictor.slabs(seen(indices(64, 9, 10))):
        ahead = max(ahead, len(made) - slab.stop)
    assert made == list(range(64))  # each slice once
    assert ahead <= 8


def slices_in_memory(height, width):
    """Return how many slices all tensors of that size hold together."""
    storages = [one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor and one.ndim > 1
                and one.shape[-2:] == (height, width)]  # fmt: skip
    return sum({s.data_ptr(): s.nbytes() // (4 * height * width) for s in storages}.values())


def test_memory_does_not_grow_with_the_slices_and_each_is_made_once(made):
    predictor = Predictor([bundle_of(Channel(0), neighbours=2)], sliding=SlidingOptions(batch_size=4))
    most = {}
    for depth in (30, 60):
        made.clear()
        image, most[depth] = seen(indices(depth, 11, 13), 2), 0
        for number, slab in enumerate(predictor.slabs(image)):
            if number % 5 == 0:
                most[depth] = max(most[depth], slices_in_memory(11, 13))
            del slab
        assert made == list(range(depth))
    assert 0 < most[60] == most[30] < 60


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "tensorrt"}, "engine auto, torch, openvino or onnxruntime"),
        ({"engine": "openvino", "compile": True}, "engine auto or torch for compile=true"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "engine auto, torch or openvino for precision=bf16"),
    ],
)
def test_engines_that_do_not_go_with_other_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        SlidingOptions(**options)


def test_an_engine_of_the_cpu_is_refused_on_another_device():
    with pytest.raises(UserError, match="device=cpu for engine=openvino; found device=meta"):
        Predictor([bundle_of(small_unet())], sliding=SlidingOptions(engine="openvino"), device="meta")


def test_a_bundle_in_memory_is_run_by_torch_and_one_of_a_folder_by_the_engine_that_is_there(random_bundle, monkeypatch):
    asked = []
    monkeypatch.setattr(
        predictor_module, "run_by_engine", lambda model, choice, **facts: asked.append((choice, facts)) or model
    )
    loaded = bundles.load(random_bundle)
    predictor = Predictor([loaded], sliding=SlidingOptions())
    assert predictor.models == [loaded.model]
    assert predictor.engines == ["torch"]
    ((choice, facts),) = asked
    assert (choice.name, choice.precision, choice.folder) == ("auto", "fp32", random_bundle)
    assert facts == {"shape": (1, 16, 16), "facts": {"model": loaded.model_config}}
    assert bundle_of(small_unet()).folder is None
