"""The sliding window: MONAI's `sliding_window_inference` as independent oracle, and slices asked for once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from torch import nn
from torch.nn import functional as F

from segfocal.inference.sliding.sweep import sweep
from segfocal.inference.sliding.windows import WindowOverlap


def whole(slabs):
    """Join slabs, and check that they come in order and leave nothing out."""
    parts, reached = [], 0
    for slab in slabs:
        assert slab.start == reached
        reached = slab.stop
        parts.append(slab.logits)
    return torch.cat(parts, dim=1)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    window=st.tuples(st.sampled_from([1, 1, 2, 4]), st.integers(1, 24), st.integers(1, 24)),
    batch=st.integers(1, 7),
    overlap=st.floats(0, 0.8),
)
@settings(max_examples=100, deadline=None)
def test_a_pointwise_network_answers_the_same_through_windows_as_whole(shape, window, batch, overlap):
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))

    def network(x):
        return torch.stack([x[:, 0] + x[:, 1], x[:, 0] * x[:, 1], x[:, 1]], dim=1)

    logits = whole(sweep(image, network, window=window, overlap=WindowOverlap(share=overlap), batch_size=batch))
    torch.testing.assert_close(logits, network(image[None])[0], rtol=1e-5, atol=1e-5)  # weights sum to 1 ± 1e-6


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    window=st.tuples(st.sampled_from([1, 1, 2, 4]), st.integers(1, 24), st.integers(1, 24)),
    overlap=st.floats(0, 0.9),
    value=st.floats(-1e3, 1e3, width=32),
    gaussian=st.booleans(),
    half=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_constant_in_is_constant_out_to_the_last_bit(shape, window, overlap, value, gaussian, half):
    dtype = torch.float16 if half else torch.float32
    constant = torch.full((1,), value).to(dtype)
    logits = whole(
        sweep(
            torch.ones(1, *shape),
            lambda x: torch.zeros_like(x) + constant.float(),
            window=window,
            overlap=WindowOverlap(share=overlap, weighting="gaussian" if gaussian else "constant"),
            batch_size=5,
            accumulate=dtype,
        )
    )
    assert logits.shape == (1, *shape)
    assert (logits == constant).all()


def test_slices_are_asked_for_when_they_are_needed_and_once():
    class Counted:
        shape = (1, 23, 9, 9)
        asked: list[int] = []  # noqa: RUF012

        def slices(self, start, stop):
            self.asked.extend(range(start, stop))
            return torch.full((1, stop - start, 9, 9), float(start))

    image, ahead = Counted(), 0
    for slab in sweep(image, lambda x: x, window=(4, 8, 8), batch_size=2):
        ahead = max(ahead, len(image.asked) - slab.stop)
    assert image.asked == list(range(23))
    assert ahead <= 4


@pytest.mark.parametrize("depth", [3, 23])
def test_slices_are_made_ready_a_few_at_a_time(depth, monkeypatch):
    """In 3-D, too, where a window reaches over many: what the scan's own pixels become would be in memory twice."""
    monkeypatch.setattr("segfocal.inference.sliding.sweep._FETCHED", 2 * 9 * 7)
    image, asked = torch.rand(1, depth, 9, 7), []

    class Counted:
        shape = image.shape

        def slices(self, start, stop):
            asked.append(range(start, stop))
            return image[:, start:stop]

    logits = whole(sweep(Counted(), lambda x: x, window=(8, 8, 8), batch_size=3))
    torch.testing.assert_close(logits, image)
    assert [index for part in asked for index in part] == list(range(depth))
    assert max(map(len, asked)) == 2


def test_what_is_handed_out_shares_no_memory_with_what_is_still_open():
    slabs = list(sweep(torch.rand(1, 40, 8, 8), lambda x: x, window=(8, 8, 8), batch_size=1))
    storages = [slab.logits.untyped_storage().data_ptr() for slab in slabs]
    assert len(set(storages)) == len(slabs) > 5


class Windowed(nn.Module):
    """A network whose answer depends on where a pixel lies in its window: blending shows."""

    def __init__(self, dims):
        super().__init__()
        torch.manual_seed(0)
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 3, 5, padding=2)

    def forward(self, x):
        ramp = torch.linspace(-1, 1, x.shape[-1]) + torch.linspace(-1, 1, x.shape[-2])[:, None]
        return 5 * torch.tanh(self.conv(x)) + ramp


@torch.no_grad()
@pytest.mark.parametrize(("shape", "window"), [((1, 3, 75, 61), (1, 32, 24)), ((1, 37, 41, 29), (16, 20, 12))])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_logits_equal_monai_with_gaussian_weights(shape, window, overlap):
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    flat = window[0] == 1
    network = Windowed(2 if flat else 3)
    # A Gaussian wide enough that MONAI's floor on the *product* over the axes (0.001) is never reached: there the two
    # definitions are one. Where it is reached MONAI's weights are no tensor product any more; see the next test.
    theirs = sliding_window_inference(
        image.transpose(0, 1) if flat else image[None],
        window[1:] if flat else window,
        4,
        network,
        overlap=overlap,
        mode="gaussian",
        sigma_scale=0.25,
    )
    ours = whole(
        sweep(image, network, window=window, overlap=WindowOverlap(share=overlap, sigma_share=0.25), batch_size=5)
    )
    torch.testing.assert_close(ours, theirs.transpose(0, 1) if flat else theirs[0], rtol=0, atol=1e-4)


@torch.no_grad()
def test_default_gaussian_equals_monai_given_the_same_weight_map():
    image = torch.randn(1, 2, 75, 61, generator=torch.Generator().manual_seed(1))
    network = Windowed(2)
    profiles = []
    for length in (32, 24):
        distance = np.arange(length) - (length - 1) / 2
        profiles.append(np.maximum(np.exp(-0.5 * (distance / (0.125 * length)) ** 2), 1e-3))
    weights = torch.from_numpy(np.outer(*profiles)).float()
    theirs = sliding_window_inference(
        image.transpose(0, 1), (32, 24), 4, network, overlap=0.5, roi_weight_map=weights[None, None]
    )
    ours = whole(sweep(image, network, window=(1, 32, 24), overlap=WindowOverlap(share=0.5), batch_size=5))
    torch.testing.assert_close(ours, theirs.transpose(0, 1), rtol=0, atol=1e-4)


def test_a_volume_smaller_than_the_window_is_padded_and_cut_back():
    image = torch.arange(30.0).reshape(1, 2, 3, 5)
    seen = []

    def network(x):
        seen.append(tuple(x.shape[1:]))
        return x

    logits = whole(sweep(image, network, window=(1, 8, 8)))
    assert seen == [(1, 8, 8)]
    torch.testing.assert_close(logits, image)


def test_batches_take_windows_of_several_slices():
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x

    whole(sweep(torch.rand(1, 10, 8, 8), network, window=(1, 8, 8), batch_size=4))
    assert sizes == [4, 4, 2]


def test_memory_of_the_sweep_does_not_grow_with_the_slices():
    most = 0
    for slab in sweep(torch.zeros(1, 200, 16, 16), lambda x: x, window=(1, 16, 16), batch_size=4):
        most = max(most, slab.logits.shape[1])
    assert most == 4


def test_the_order_of_slices_does_not_matter():
    image = torch.randn(1, 6, 33, 29, generator=torch.Generator().manual_seed(2))
    network = Windowed(2)
    with torch.no_grad():
        forward = whole(sweep(image, network, window=(1, 16, 16), batch_size=1))
        backward = whole(sweep(image.flip(1), network, window=(1, 16, 16), batch_size=7)).flip(1)
    torch.testing.assert_close(forward, backward, rtol=0, atol=1e-5)  # batch size changes the order of sums


def test_padding_follows_monai():
    image = torch.ones(1, 1, 3, 6)
    seen = []
    whole(sweep(image, lambda x: (seen.append(x), x)[1], window=(1, 8, 8)))
    torch.testing.assert_close(seen[0][0], F.pad(image[0], (1, 1, 2, 3)))
