"""Blob loss: against the plain loss called for each component on the pixels outside the others."""

import pytest
import torch

from segfocal.losses import BlobLoss, CrossEntropyLoss, DiceLoss, FocalLoss
from tests.losses.pairs import CLOSE
from tests.losses.test_component_sums import blobs, with_gradient

LOSSES = {
    "dice": (BlobLoss(smooth=0.3), DiceLoss(smooth=0.3)),
    "focal": (BlobLoss("focal", gamma=0.5, alpha=0.8), FocalLoss(gamma=0.5, alpha=0.8)),
    "cross-entropy": (BlobLoss("focal", gamma=0), CrossEntropyLoss()),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "plain"), LOSSES.values(), ids=LOSSES)
def test_it_is_the_mean_over_components_with_the_others_left_out(loss, plain, seed):
    x, t, cells = blobs(seed=seed)
    expected = []
    for one_x, one_t, one in zip(x.flatten(0, 1), t.flatten(0, 1), cells.flatten(0, 1), strict=True):
        for number in one[one_t].unique():
            left = ~one_t | (one == number)
            expected.append(plain(one_x[left][None, None], one_t[left][None, None]))
    assert len(expected) > 3
    torch.testing.assert_close(loss(x, t, cells), torch.stack(expected).mean(), **CLOSE)


def test_alpha_by_channel_weighs_that_channel():
    x, t, cells = blobs()
    both = BlobLoss("focal", alpha=[0.2, 0.9])(x, t, cells)
    alone = [BlobLoss("focal", alpha=a)(x[:, [k]], t[:, [k]], cells[:, [k]]) for k, a in enumerate((0.2, 0.9))]
    counts = [sum(len(cells[b, k][t[b, k]].unique()) for b in range(2)) for k in range(2)]
    torch.testing.assert_close(both, (counts[0] * alone[0] + counts[1] * alone[1]) / sum(counts), **CLOSE)


def test_a_map_without_a_component_gets_no_gradient():
    x, t, cells = blobs()
    for loss, _ in LOSSES.values():
        _, gradient = with_gradient(loss, x, t, cells)
        assert (gradient[0, 1] == 0).all()
        assert (gradient[0, 0] != 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"of": "iou"}, "expected a blob loss of dice or focal; got 'iou'"),
        ({"smooth": 0}, "expected smooth > 0"),
        ({"gamma": -1}, "expected gamma ≥ 0"),
        ({"alpha": 2}, r"expected alpha in \[0,1\]"),
    ],
)
def test_an_option_out_of_range_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        BlobLoss(**options)
