"""Batches that do not fit into memory are halved; nothing finished is lost; the next scan starts with what worked."""

import pytest
import torch

from segfocal.errors import UserError
from segfocal.inference.sliding.batching import Batching
from segfocal.inference.sliding.sweep import sweep


def network_with_room_for(most, seen):
    def network(x):
        seen.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x * 2

    return network


def test_a_batch_that_does_not_fit_is_halved_and_stays_so():
    image, seen, batching = torch.rand(1, 20, 8, 8), [], Batching(16)
    slabs = list(sweep(image, network_with_room_for(5, seen), window=(1, 8, 8), batch_size=batching))
    torch.testing.assert_close(torch.cat([slab.logits for slab in slabs], dim=1), image * 2)
    assert batching.size == 4
    assert seen == [16, 8, 4, 4, 4, 4, 4]
    list(sweep(image, network_with_room_for(5, seen), window=(1, 8, 8), batch_size=batching))
    assert seen[7:] == [4] * 5


def test_no_room_for_one_window_is_one_clear_line():
    with pytest.raises(UserError, match="memory for one window of 8×8"):
        list(sweep(torch.rand(1, 2, 8, 8), network_with_room_for(0, []), window=(1, 8, 8), batch_size=4))


def test_other_errors_of_a_network_are_not_swallowed():
    def network(x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Batching(4).run(network, torch.zeros(2, 1))
