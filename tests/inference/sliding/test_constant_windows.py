"""Windows of one value are answered once, and as the network answers them."""

import pytest
import torch
from torch import nn

from segfocal.inference.sliding.constant_windows import ConstantWindows
from segfocal.inference.sliding.sweep import sweep


class Counted(nn.Module):
    """A network whose answer depends on the place in a window, padding and neighbours; counts the windows it sees."""

    def __init__(self, channels=1, dims=2):
        super().__init__()
        torch.manual_seed(0)
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(channels, 3, 3, padding=1)
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        ramp = torch.linspace(-1, 1, x.shape[-1])
        with torch.no_grad():
            return torch.tanh(self.conv(x)) + ramp


def every(network, windows):
    """Return the network's answer to each window, asked one by one."""
    return torch.cat([network(window[None]) for window in windows])


def test_each_window_gets_the_answer_it_gets_alone():
    windows = torch.rand(7, 2, 6, 5, generator=torch.Generator().manual_seed(1))
    windows[1], windows[3], windows[4], windows[6] = 0.0, 0.5, 0.0, 0.5
    network = Counted(channels=2)
    asked = ConstantWindows(network)
    for _ in range(2):
        torch.testing.assert_close(torch.stack(list(asked.answers(windows))), every(network, windows))


def test_channels_of_different_values_are_told_apart():
    windows = torch.zeros(3, 2, 4, 4)
    windows[1, 0], windows[2, 1] = 1.0, 1.0
    network = Counted(channels=2)
    answers = torch.stack(list(ConstantWindows(network).answers(windows)))
    assert network.seen == [3]
    torch.testing.assert_close(answers, every(network, windows))


def test_a_window_with_one_constant_channel_is_asked_each_time():
    windows = torch.zeros(1, 2, 4, 4)
    windows[0, 1, 2, 3] = 0.1
    network = Counted(channels=2)
    asked = ConstantWindows(network)
    asked.answers(windows), asked.answers(windows)
    assert network.seen == [1, 1]


def test_a_window_of_nan_is_asked_each_time():
    network = Counted()
    asked = ConstantWindows(network)
    for _ in range(2):
        assert torch.stack(list(asked.answers(torch.full((1, 1, 4, 4), float("nan"))))).isnan().all()
    assert network.seen == [1, 1]


def test_one_answer_is_kept_without_the_batch_it_came_in():
    asked = ConstantWindows(Counted())
    windows = torch.rand(8, 1, 16, 16)
    windows[2], windows[5] = 0.0, 1.0
    asked.answers(windows)
    (kept,) = asked.kept.values()
    assert kept.untyped_storage().nbytes() == 3 * 16 * 16 * 4


def test_windows_of_air_are_asked_once_a_scan():
    image = torch.zeros(1, 12, 8, 32)
    image[:, :, :, :8] = torch.rand(1, 12, 8, 8, generator=torch.Generator().manual_seed(2))
    network = Counted()
    list(sweep(image, network, window=(1, 8, 8), batch_size=4))
    assert sum(network.seen) < 12 * 2 + 2  # of 84 windows: two a slice reach the body, and one of air


@pytest.mark.parametrize(("window", "dims"), [((1, 8, 8), 2), ((4, 8, 8), 3)])
def test_a_scan_amid_air_is_answered_as_if_every_window_were_asked(window, dims):
    image = torch.zeros(1, 9, 30, 34)
    image[:, 2:6, 3:11, 20:29] = torch.rand(1, 4, 8, 9, generator=torch.Generator().manual_seed(3))
    network = Counted(dims=dims)
    usual = torch.cat([slab.logits for slab in sweep(image, network, window=window, batch_size=3)], dim=1)
    fewer = sum(network.seen)

    network.seen.clear()
    marked = torch.cat([image, torch.rand(image.shape)], dim=0)  # no window has one value a channel
    whole = torch.cat(
        [slab.logits for slab in sweep(marked, lambda x: network(x[:, :1]), window=window, batch_size=3)], dim=1
    )
    assert fewer < sum(network.seen)
    torch.testing.assert_close(usual, whole, rtol=0, atol=1e-6)  # batch size changes the order of sums
